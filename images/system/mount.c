// mount(2) and umount(2) for the agent: between a launch and its function's first answer there is no time to start a program for each
// mount, and a process that has started another pays for each page that it writes after it.
// What Node offers its libraries is declared here: its headers are not part of what it is built with.
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>

typedef void *value;
typedef value (*callback)(void *env, void *info);
int napi_create_function(void *, const char *, size_t, callback, void *, value *);
int napi_get_cb_info(void *, void *, size_t *, value *, value *, void **);
int napi_get_value_string_utf8(void *, value, char *, size_t, size_t *);
int napi_get_value_uint32(void *, value, uint32_t *);
int napi_create_int32(void *, int32_t, value *);
int napi_set_named_property(void *, value, const char *, value);

// mount(source, target, type, flags, options): 0 or errno.
static value mount_now(void *env, void *info) {
  static char texts[4][4096];
  value given[5], result = NULL;
  size_t count = 5, length;
  uint32_t flags = 0;
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  int bad = count != 5 || napi_get_value_uint32(env, given[3], &flags);
  for (int i = 0; i < 4 && !bad; i++)
    bad = napi_get_value_string_utf8(env, given[i < 3 ? i : 4], texts[i], sizeof texts[i], &length) || length == sizeof texts[i] - 1;
  int error = bad ? EINVAL : mount(texts[0], texts[1], texts[2], flags, texts[3]) ? errno : 0;
  napi_create_int32(env, error, &result);
  return result;
}

// umount(target): 0 or errno.
static value unmount_now(void *env, void *info) {
  static char target[4096];
  value given[1], result = NULL;
  size_t count = 1, length;
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  int bad = count != 1 || napi_get_value_string_utf8(env, given[0], target, sizeof target, &length) || length == sizeof target - 1;
  int error = bad ? EINVAL : umount(target) ? errno : 0;
  napi_create_int32(env, error, &result);
  return result;
}

int node_api_module_get_api_version_v1(void) { return 8; }

value napi_register_module_v1(void *env, value exports) {
  value function;
  if (napi_create_function(env, "mount", 5, mount_now, NULL, &function)) return NULL;
  napi_set_named_property(env, exports, "mount", function);
  if (napi_create_function(env, "umount", 6, unmount_now, NULL, &function)) return NULL;
  napi_set_named_property(env, exports, "umount", function);
  return exports;
}
