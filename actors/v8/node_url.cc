// SPDX-License-Identifier: Apache-2.0
//
// URLs by Ada, the parser that the pinned Node.js has in it and exports with a C interface:
// `internalBinding('url')` of its library.
#include <cstring>

#include "actors/v8/natives.hh"

// The C interface of Ada (ada_c.h), as far as it is used; the declarations are not among the
// packaged headers.
extern "C" {
typedef void *ada_url;
struct ada_string {
    const char *data;
    size_t length;
};
struct ada_owned_string {
    const char *data;
    size_t length;
};
struct ada_url_components {
    uint32_t protocol_end, username_end, host_start, host_end, port, pathname_start, search_start,
        hash_start;
};
ada_url ada_parse(const char *input, size_t length);
ada_url ada_parse_with_base(const char *input, size_t length, const char *base, size_t base_length);
bool ada_can_parse(const char *input, size_t length);
bool ada_can_parse_with_base(const char *input, size_t length, const char *base,
                             size_t base_length);
void ada_free(ada_url url);
bool ada_is_valid(ada_url url);
ada_string ada_get_href(ada_url url);
ada_string ada_get_hostname(ada_url url);
ada_owned_string ada_get_origin(ada_url url);
void ada_free_owned_string(ada_owned_string s);
uint8_t ada_get_scheme_type(ada_url url);
const ada_url_components *ada_get_components(ada_url url);
bool ada_set_href(ada_url url, const char *input, size_t length);
bool ada_set_protocol(ada_url url, const char *input, size_t length);
bool ada_set_host(ada_url url, const char *input, size_t length);
bool ada_set_hostname(ada_url url, const char *input, size_t length);
bool ada_set_port(ada_url url, const char *input, size_t length);
bool ada_set_username(ada_url url, const char *input, size_t length);
bool ada_set_password(ada_url url, const char *input, size_t length);
bool ada_set_pathname(ada_url url, const char *input, size_t length);
void ada_set_search(ada_url url, const char *input, size_t length);
void ada_set_hash(ada_url url, const char *input, size_t length);
void ada_clear_hash(ada_url url);
void ada_clear_search(ada_url url);
ada_owned_string ada_idna_to_ascii(const char *input, size_t length);
ada_owned_string ada_idna_to_unicode(const char *input, size_t length);
}

namespace isola
{
namespace
{

// No URL is longer, nor anything put into one: Ada works through it in one go.
constexpr size_t kLongest = 32u << 20;

bool too_long(v8::Local<v8::Value> value)
{
    return value->IsString() && static_cast<size_t>(value.As<v8::String>()->Length()) > kLongest;
}

// For Ada: something that is no URL, instead of what is too long.
std::string bounded(v8::Isolate *isolate, v8::Local<v8::Value> value)
{
    return too_long(value) ? "http://[too long" : utf8(isolate, value);
}

struct Url {
    Url(const std::string &input, const std::string *base)
        : url(base != nullptr
                  ? ada_parse_with_base(input.data(), input.size(), base->data(), base->size())
                  : ada_parse(input.data(), input.size()))
    {
    }
    ~Url() { ada_free(url); }
    Url(const Url &) = delete;
    bool valid() const { return ada_is_valid(url); }
    bool fits() const { return ada_get_href(url).length <= kLongest; }
    const ada_url url;
};

void return_text(Info info, const char *data, size_t len)
{
    info.GetReturnValue().Set(text(info.GetIsolate(), isola_slice(data, len)));
}

// Puts the parts of `url` into the Uint32Array `to` and returns its text.
void return_url(Info info, const Url &url, v8::Local<v8::Value> to)
{
    BytesOf parts(to);
    uint32_t values[9];
    static_assert(sizeof(ada_url_components) == 8 * sizeof(uint32_t));
    memcpy(values, ada_get_components(url.url), sizeof(ada_url_components));
    values[8] = ada_get_scheme_type(url.url);
    if (parts.len >= sizeof(values))
        memcpy(parts.data, values, sizeof(values));
    ada_string href = ada_get_href(url.url);
    return_text(info, href.data, href.length);
}

// parse(parts, input, base or undefined) → href, undefined when it is none
void parse(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    std::string input = bounded(isolate, info[1]), base;
    bool based = info[2]->IsString();
    if (based)
        base = bounded(isolate, info[2]);
    Url url(input, based ? &base : nullptr);
    if (url.valid() && url.fits())
        return_url(info, url, info[0]);
}

// canParse(input, base or undefined)
void can_parse(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    std::string input = bounded(isolate, info[0]), base;
    bool based = info[1]->IsString();
    if (based)
        base = bounded(isolate, info[1]);
    info.GetReturnValue().Set(
        based ? ada_can_parse_with_base(input.data(), input.size(), base.data(), base.size())
              : ada_can_parse(input.data(), input.size()));
}

// What to set, by the numbers of internal/url.js' updateActions.
using Setter = bool (*)(ada_url, const char *, size_t);
const Setter kSetters[] = {
    ada_set_protocol,
    ada_set_host,
    ada_set_hostname,
    ada_set_port,
    ada_set_username,
    ada_set_password,
    ada_set_pathname,
    [](ada_url url, const char *value, size_t n) { return ada_set_search(url, value, n), true; },
    [](ada_url url, const char *value, size_t n) { return ada_set_hash(url, value, n), true; },
    ada_set_href,
};

// update(parts, href, action, value) → the new href, false when the value does not fit there
void update(Info info)
{
    v8::Isolate *isolate = info.GetIsolate();
    std::string href = bounded(isolate, info[1]), value = bounded(isolate, info[3]);
    Url url(href, nullptr);
    if (!url.valid() || !info[2]->IsUint32())
        return;
    uint32_t action = info[2].As<v8::Uint32>()->Value();
    bool ok = !too_long(info[3]) && action < sizeof(kSetters) / sizeof(kSetters[0]) &&
              kSetters[action](url.url, value.data(), value.size());
    if (ok && url.fits())
        return_url(info, url, info[0]);
    else
        info.GetReturnValue().Set(false);
}

// format(href, hash, search, auth): without what is false
void format(Info info)
{
    Url url(bounded(info.GetIsolate(), info[0]), nullptr);
    if (!url.valid())
        return;
    if (info[1]->IsFalse())
        ada_clear_hash(url.url);
    if (info[2]->IsFalse())
        ada_clear_search(url.url);
    if (info[3]->IsFalse()) {
        (void)ada_set_username(url.url, "", 0);
        (void)ada_set_password(url.url, "", 0);
    }
    ada_string href = ada_get_href(url.url);
    return_text(info, href.data, href.length);
}

// Makes the domain the host of `url`, in ASCII; without one, or with one that is none, the answer
// is empty.
bool host_of(Info info, const Url &url, ada_string *host)
{
    std::string domain = bounded(info.GetIsolate(), info[0]);
    if (!url.valid() || domain.empty() ||
        !ada_set_hostname(url.url, domain.data(), domain.size())) {
        info.GetReturnValue().SetEmptyString();
        return false;
    }
    *host = ada_get_hostname(url.url);
    return true;
}

void domain_to_ascii(Info info)
{
    Url url("ws://x", nullptr);
    ada_string host;
    if (host_of(info, url, &host))
        return_text(info, host.data, host.length);
}

void domain_to_unicode(Info info)
{
    Url url("ws://x", nullptr);
    ada_string host;
    if (!host_of(info, url, &host))
        return;
    ada_owned_string unicode = ada_idna_to_unicode(host.data, host.length);
    return_text(info, unicode.data, unicode.length);
    ada_free_owned_string(unicode);
}

template <ada_owned_string (*convert)(const char *, size_t)> void idna(Info info)
{
    std::string domain = bounded(info.GetIsolate(), info[0]);
    ada_owned_string converted = convert(domain.data(), domain.size());
    return_text(info, converted.data, converted.length);
    ada_free_owned_string(converted);
}

void origin(Info info)
{
    Url url(bounded(info.GetIsolate(), info[0]), nullptr);
    if (!url.valid())
        return;
    ada_owned_string o = ada_get_origin(url.url);
    return_text(info, o.data, o.length);
    ada_free_owned_string(o);
}

const Native functions[] = {
    {"parse", parse},
    {"canParse", can_parse},
    {"update", update},
    {"format", format},
    {"domainToASCII", domain_to_ascii},
    {"domainToUnicode", domain_to_unicode},
    {"toASCII", idna<ada_idna_to_ascii>},
    {"toUnicode", idna<ada_idna_to_unicode>},
    {"getOrigin", origin},
};

} // namespace

const NativeGroup url_natives = {"url", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
