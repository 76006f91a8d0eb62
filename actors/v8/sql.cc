// SPDX-License-Identifier: Apache-2.0
//
// The native functions of self.sql (lib/runtime/sql.js): values to and from the database, which the
// host has (base/sql.h). Scripts cannot reach them. A query looks every so often whether its script
// is to end.
#include <cmath>

#include "actors/v8/natives.hh"
#include "base/msgpack.h"

namespace isola
{
namespace
{

constexpr double kSafe = 9007199254740991; // what a number counts to without gaps
constexpr uint32_t kRows = 1024;           // that are handed over at once, at the most,
constexpr size_t kBytes = size_t{256} << 10;
constexpr uint32_t kFirstRows = 64; // and with the query itself
constexpr size_t kFirstBytes = size_t{32} << 10;

// A database, for the time of a call.
struct Database {
    explicit Database(Info info) : isolate(info.GetIsolate()), v(from(isolate))
    {
        uint32_t actor = info[0]->IsUint32() ? info[0].As<v8::Uint32>()->Value() : 0;
        db = v->ops->sql(v->arg, actor, &ops, &fault);
    }
    v8::Isolate *isolate;
    isola_v8 *v;
    const isola_sql_ops *ops = nullptr;
    isola_sql *db;
    isola_sql_fault fault{};
};

uint32_t number_of(Info info, int i)
{
    return info[i]->IsUint32() ? info[i].As<v8::Uint32>()->Value() : 0;
}

void set(v8::Isolate *isolate, v8::Local<v8::Value> object, const char *name,
         v8::Local<v8::Value> value)
{
    (void)object.As<v8::Object>()
        ->CreateDataProperty(isolate->GetCurrentContext(), text(isolate, name), value)
        .FromMaybe(false);
}

// Where in a text of UTF-16 the byte of its UTF-8 is.
double units_before(Slice query, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes && i < query.len; i++) {
        n += (query.data[i] & 0xc0) != 0x80;
        n += query.data[i] >= 0xf0;
    }
    return static_cast<double>(n);
}

void fail(v8::Isolate *isolate, const isola_sql_fault &fault, Slice query)
{
    const char *code = isola_error_name(fault.err.code);
    if (fault.err.code == ISOLA_EINVAL) {
        throw_type_error(isolate, code, fault.err.text);
        return;
    }
    v8::Local<v8::Value> error = make_error(isolate, code, fault.err.text);
    if (fault.name != nullptr)
        set(isolate, error, "sqliteCode", text(isolate, fault.name));
    if (fault.offset >= 0)
        set(isolate, error, "offset",
            v8::Number::New(isolate, units_before(query, static_cast<size_t>(fault.offset))));
    isolate->ThrowException(error);
}

/* --- values in --- */

const char *kind_of(v8::Local<v8::Value> value)
{
    return value->IsUndefined()  ? "undefined (SQL has null)"
           : value->IsDate()     ? "a Date (give its getTime() or toISOString())"
           : value->IsFunction() ? "a function"
           : value->IsSymbol()   ? "a symbol"
           : value->IsArray()    ? "an array (give values one by one: exec(query, ...values))"
                                 : "an object";
}

// False: thrown.
bool encode_one(v8::Isolate *isolate, v8::Local<v8::Value> value, const std::string &name,
                isola_buf *out)
{
    if (value->IsNull()) {
        isola_mp_nil(out);
    } else if (value->IsBoolean()) {
        isola_mp_bool(out, value->IsTrue());
    } else if (value->IsNumber()) {
        double d = value.As<v8::Number>()->Value();
        if (std::trunc(d) == d && std::fabs(d) <= kSafe && !(d == 0 && std::signbit(d)))
            isola_mp_int(out, static_cast<int64_t>(d));
        else
            isola_mp_double(out, d);
    } else if (value->IsString()) {
        Utf8 s(isolate, value);
        isola_mp_str(out, s.slice());
    } else if (value->IsBigInt()) {
        bool whole = false;
        int64_t i = value.As<v8::BigInt>()->Int64Value(&whole);
        if (!whole) {
            throw_type_error(isolate, "EINVAL", (name + " has more than 64 bits").c_str());
            return false;
        }
        isola_mp_int(out, i);
    } else if (value->IsArrayBufferView() || value->IsArrayBuffer()) {
        BytesOf bytes(value);
        isola_mp_bin(out, isola_slice(bytes.data, bytes.len));
    } else {
        throw_type_error(isolate, "EINVAL",
                         (name + " is " + kind_of(value) +
                          ": SQL has null, numbers, bigints, strings, booleans and bytes")
                             .c_str());
        return false;
    }
    return true;
}

// An array, or arrays of names and of values. False: thrown.
bool encode_values(isola_js *js, v8::Local<v8::Value> names, v8::Local<v8::Value> values,
                   isola_buf *out)
{
    v8::Isolate *isolate = js->isolate();
    if (!values->IsArray())
        return true;
    auto array = values.As<v8::Array>();
    bool named = names->IsArray();
    uint32_t n = array->Length();
    if (named)
        isola_mp_map(out, n);
    else
        isola_mp_array(out, n);
    for (uint32_t i = 0; i < n; i++) {
        v8::Local<v8::Value> value, name;
        if (!array->Get(js->context, i).ToLocal(&value))
            return false;
        std::string called = "value " + std::to_string(i + 1);
        if (named) {
            if (!names.As<v8::Array>()->Get(js->context, i).ToLocal(&name))
                return false;
            called = utf8(isolate, name, 1000);
            isola_mp_str(out, isola_slice(called.data(), called.size()));
            called = "the value of " + called;
        }
        if (!encode_one(isolate, value, called, out))
            return false;
    }
    if (!out->failed)
        return true;
    isolate->ThrowException(make_error(isolate, "ENOMEM", "no memory for the values of a query"));
    return false;
}

/* --- rows out --- */

// False: thrown.
bool decode_one(v8::Isolate *isolate, Reader *r, v8::Local<v8::Value> *out)
{
    isola_mp_item item;
    v8::Local<v8::ArrayBuffer> buffer;
    if (isola_mp_next(r, &item) != 0)
        return false; // never: our own
    switch (item.type) {
    case ISOLA_MP_UINT:
        if (item.u > static_cast<uint64_t>(kSafe))
            *out = v8::BigInt::NewFromUnsigned(isolate, item.u);
        else
            *out = v8::Number::New(isolate, static_cast<double>(item.u));
        return true;
    case ISOLA_MP_INT:
        if (item.i < -static_cast<int64_t>(kSafe))
            *out = v8::BigInt::New(isolate, item.i);
        else
            *out = v8::Number::New(isolate, static_cast<double>(item.i));
        return true;
    case ISOLA_MP_DOUBLE:
        *out = v8::Number::New(isolate, item.d);
        return true;
    case ISOLA_MP_STR:
        *out = text(isolate, item.bytes);
        return true;
    case ISOLA_MP_BIN:
        if (!copied(isolate, item.bytes).ToLocal(&buffer)) {
            isolate->ThrowException(
                v8::Exception::RangeError(text(isolate, "no room for the bytes of a row")));
            return false;
        }
        *out = v8::Uint8Array::New(buffer, 0, item.bytes.len);
        return true;
    default:
        *out = v8::Null(isolate);
        return true;
    }
}

// All values there are, as one array. Empty: thrown, or the script is to end.
v8::MaybeLocal<v8::Array> decode_all(v8::Isolate *isolate, Slice bytes, size_t count)
{
    std::vector<v8::Local<v8::Value>> values(count);
    Reader r = isola_mp_reader(bytes);
    for (size_t i = 0; i < count; i++)
        if ((i % kRows == 0 && ending(isolate)) || !decode_one(isolate, &r, &values[i]))
            return {};
    return v8::Array::New(isolate, values.data(), count);
}

struct Run : isola_sql_run {
    Run(Database *d, uint32_t rows, size_t bytes) : isola_sql_run{}
    {
        stop = [](void *v) { return ending(static_cast<isola_v8 *>(v)); };
        arg = d->v;
        max_rows = rows;
        max_bytes = bytes;
    }
    ~Run()
    {
        isola_buf_free(&columns);
        isola_buf_free(&rows);
    }
    Run(const Run &) = delete;
};

void give(Info info, Run *run, bool with_columns)
{
    v8::Isolate *isolate = info.GetIsolate();
    v8::Local<v8::Array> cells, names;
    size_t count = size_t{run->nrows} * run->ncolumns;
    if (!decode_all(isolate, isola_buf_slice(&run->rows), count).ToLocal(&cells))
        return;
    v8::Local<v8::Value> all[] = {cells, v8::Integer::NewFromUnsigned(isolate, run->nrows),
                                  v8::Integer::NewFromUnsigned(isolate, run->cursor),
                                  v8::Null(isolate), v8::Null(isolate)};
    if (with_columns) {
        Slice columns = isola_buf_slice(&run->columns);
        Reader r = isola_mp_reader(columns);
        isola_mp_item head;
        if (columns.len == 0 || isola_mp_next(&r, &head) != 0)
            r = isola_mp_reader(Slice{});
        Slice rest = isola_slice(r.p, static_cast<size_t>(r.end - r.p));
        if (!decode_all(isolate, rest, run->ncolumns).ToLocal(&names))
            return;
        all[3] = names;
        all[4] = v8::Number::New(isolate, static_cast<double>(run->written));
    }
    info.GetReturnValue().Set(v8::Array::New(isolate, all, with_columns ? 5 : 3));
}

/* --- the functions --- */

// exec(actor, query, names | undefined, values) → [values of rows, rows, cursor or 0, names of
// columns, rows written]
void exec(Info info)
{
    Database d(info);
    isola_js js{d.v, d.isolate->GetCurrentContext()};
    Scratch values(&js);
    if (d.db == nullptr) {
        fail(d.isolate, d.fault, {});
        return;
    }
    if (!encode_values(&js, info[2], info[3], values.buf()))
        return;
    Utf8 query(d.isolate, info[1]);
    Run run(&d, kFirstRows, kFirstBytes);
    run.text = query.slice();
    run.values = values.slice();
    if (d.ops->exec(d.db, &run, &d.fault) != 0)
        fail(d.isolate, d.fault, run.text);
    else
        give(info, &run, true);
}

// more(actor, cursor) → [values of rows, rows, cursor or 0]
void more(Info info)
{
    Database d(info);
    Run run(&d, kRows, kBytes);
    run.cursor = number_of(info, 1);
    if (d.db == nullptr || d.ops->more(d.db, &run, &d.fault) != 0)
        fail(d.isolate, d.fault, {});
    else
        give(info, &run, false);
}

// end(actor, cursor)
void end(Info info)
{
    Database d(info);
    if (d.db != nullptr)
        d.ops->end(d.db, number_of(info, 1));
}

void begin(Info info)
{
    Database d(info);
    if (d.db == nullptr || d.ops->begin(d.db, &d.fault) != 0)
        fail(d.isolate, d.fault, {});
}

void commit(Info info)
{
    Database d(info);
    if (d.db == nullptr || d.ops->commit(d.db, &d.fault) != 0)
        fail(d.isolate, d.fault, {});
}

void rollback(Info info)
{
    Database d(info);
    if (d.db != nullptr)
        d.ops->rollback(d.db);
}

// size(actor) → bytes
void size(Info info)
{
    Database d(info);
    if (d.db == nullptr)
        fail(d.isolate, d.fault, {});
    else
        info.GetReturnValue().Set(static_cast<double>(d.ops->size(d.db)));
}

const Native functions[] = {{"exec", exec},   {"more", more},     {"end", end},
                            {"begin", begin}, {"commit", commit}, {"rollback", rollback},
                            {"size", size}};

} // namespace

const NativeGroup sql_natives = {"sql", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
