// mmap(2) for the agent: its own code, from another file with the same bytes. What an emulator has translated it has translated by the
// page, and so for whoever runs the same file.
// What Node offers its libraries is declared here: its headers are not part of what it is built with.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void *value;
typedef value (*callback)(void *env, void *info);
int napi_create_function(void *, const char *, size_t, callback, void *, value *);
int napi_get_cb_info(void *, void *, size_t *, value *, value *, void **);
int napi_get_value_string_utf8(void *, value, char *, size_t, size_t *);
int napi_get_value_int64(void *, value, int64_t *);
int napi_create_int32(void *, int32_t, value *);
int napi_set_named_property(void *, value, const char *, value);

// map(path, address, length, offset): 0 or errno. In one step for all threads: none finds nothing there.
static value map_now(void *env, void *info) {
  static char path[4096];
  value given[4], result = NULL;
  size_t count = 4, length;
  int64_t at[3];
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  int bad = count != 4 || napi_get_value_string_utf8(env, given[0], path, sizeof path, &length) || length == sizeof path - 1;
  for (int i = 0; i < 3 && !bad; i++) bad = napi_get_value_int64(env, given[i + 1], &at[i]);
  int error = EINVAL;
  if (!bad) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    error = file < 0 ||
                    mmap((void *)at[0], at[1], PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, at[2]) == MAP_FAILED
                ? errno
                : 0;
    if (file >= 0) close(file);
  }
  napi_create_int32(env, error, &result);
  return result;
}

int node_api_module_get_api_version_v1(void) { return 8; }

value napi_register_module_v1(void *env, value exports) {
  value function;
  if (napi_create_function(env, "map", 3, map_now, NULL, &function)) return NULL;
  napi_set_named_property(env, exports, "map", function);
  return exports;
}
