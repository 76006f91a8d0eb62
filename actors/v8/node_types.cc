// SPDX-License-Identifier: Apache-2.0
//
// What kind of thing a value is, whatever it pretends to be: `internalBinding('types')` of Node.js'
// library.
#include "actors/v8/natives.hh"

namespace isola
{
namespace
{

template <bool (v8::Value::*is)() const> void check(Info info)
{
    info.GetReturnValue().Set(((*info[0])->*is)());
}

void is_any_array_buffer(Info info)
{
    info.GetReturnValue().Set(info[0]->IsArrayBuffer() || info[0]->IsSharedArrayBuffer());
}

void is_boxed_primitive(Info info)
{
    info.GetReturnValue().Set(info[0]->IsNumberObject() || info[0]->IsStringObject() ||
                              info[0]->IsBooleanObject() || info[0]->IsBigIntObject() ||
                              info[0]->IsSymbolObject());
}

const Native functions[] = {
    {"isExternal", check<&v8::Value::IsExternal>},
    {"isDate", check<&v8::Value::IsDate>},
    {"isArgumentsObject", check<&v8::Value::IsArgumentsObject>},
    {"isBigIntObject", check<&v8::Value::IsBigIntObject>},
    {"isBooleanObject", check<&v8::Value::IsBooleanObject>},
    {"isNumberObject", check<&v8::Value::IsNumberObject>},
    {"isStringObject", check<&v8::Value::IsStringObject>},
    {"isSymbolObject", check<&v8::Value::IsSymbolObject>},
    {"isBoxedPrimitive", is_boxed_primitive},
    {"isNativeError", check<&v8::Value::IsNativeError>},
    {"isRegExp", check<&v8::Value::IsRegExp>},
    {"isAsyncFunction", check<&v8::Value::IsAsyncFunction>},
    {"isGeneratorFunction", check<&v8::Value::IsGeneratorFunction>},
    {"isGeneratorObject", check<&v8::Value::IsGeneratorObject>},
    {"isPromise", check<&v8::Value::IsPromise>},
    {"isMap", check<&v8::Value::IsMap>},
    {"isSet", check<&v8::Value::IsSet>},
    {"isMapIterator", check<&v8::Value::IsMapIterator>},
    {"isSetIterator", check<&v8::Value::IsSetIterator>},
    {"isWeakMap", check<&v8::Value::IsWeakMap>},
    {"isWeakSet", check<&v8::Value::IsWeakSet>},
    {"isArrayBuffer", check<&v8::Value::IsArrayBuffer>},
    {"isDataView", check<&v8::Value::IsDataView>},
    {"isSharedArrayBuffer", check<&v8::Value::IsSharedArrayBuffer>},
    {"isProxy", check<&v8::Value::IsProxy>},
    {"isModuleNamespaceObject", check<&v8::Value::IsModuleNamespaceObject>},
    {"isAnyArrayBuffer", is_any_array_buffer},
};

} // namespace

const NativeGroup types_natives = {"types", functions, sizeof(functions) / sizeof(functions[0])};

} // namespace isola
