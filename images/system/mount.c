// mount(2) and umount(2) for the agent: between a launch and its function's first answer there is no time to start a program for each
// mount, and a process that has started another pays for each page that it writes after it.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mount.h>
#include "node-api.h"

// mount(source, target, type, flags, options): 0 or errno.
static value mount_now(void *env, void *info) {
  static char texts[4][4096];
  value given[5];
  size_t count = 5;
  uint32_t flags = 0;
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  int bad = count != 5 || napi_get_value_uint32(env, given[3], &flags);
  for (int i = 0; i < 4 && !bad; i++) bad = get_text(env, given[i < 3 ? i : 4], texts[i], sizeof texts[i]);
  if (bad) return to_number(env, EINVAL);
  return to_number(env, mount(texts[0], texts[1], texts[2], flags, texts[3]) ? errno : 0);
}

// umount(target): 0 or errno.
static value unmount_now(void *env, void *info) {
  static char target[4096];
  value given[1];
  size_t count = 1;
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  if (count != 1 || get_text(env, given[0], target, sizeof target)) return to_number(env, EINVAL);
  return to_number(env, umount(target) ? errno : 0);
}

value napi_register_module_v1(void *env, value exports) {
  export(env, exports, "mount", mount_now);
  export(env, exports, "umount", unmount_now);
  return exports;
}
