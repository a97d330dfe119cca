// Of Node-API what the agent's libraries use, declared here: Node's headers are not part of what it is built with.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef void *value;
typedef value (*callback)(void *env, void *info);
int napi_create_function(void *, const char *, size_t, callback, void *, value *);
int napi_get_cb_info(void *, void *, size_t *, value *, value *, void **);
int napi_get_value_string_utf8(void *, value, char *, size_t, size_t *);
int napi_get_value_uint32(void *, value, uint32_t *);
int napi_get_value_int64(void *, value, int64_t *);
int napi_create_int32(void *, int32_t, value *);
int napi_set_named_property(void *, value, const char *, value);

int node_api_module_get_api_version_v1(void) { return 8; }

// 0, or something else where it is no text, or one that `size` bytes may not hold.
static inline int get_text(void *env, value given, char *text, size_t size) {
  size_t length;
  return napi_get_value_string_utf8(env, given, text, size, &length) || length == size - 1;
}

static inline value to_number(void *env, int32_t number) {
  value result = NULL;
  napi_create_int32(env, number, &result);
  return result;
}

static inline void export(void *env, value exports, const char *name, callback call) {
  value function;
  if (!napi_create_function(env, name, SIZE_MAX, call, NULL, &function)) napi_set_named_property(env, exports, name, function);
}
