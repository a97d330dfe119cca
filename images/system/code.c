// mmap(2) for the agent: its own code, from another file with the same bytes. What an emulator has translated it has translated by the
// page, and so for whoever runs the same file.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "node-api.h"

// map(path, address, length, offset): 0 or errno. In one step for all threads: none finds nothing there.
static value map_now(void *env, void *info) {
  static char path[4096];
  value given[4];
  size_t count = 4;
  int64_t at[3];
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  int bad = count != 4 || get_text(env, given[0], path, sizeof path);
  for (int i = 0; i < 3 && !bad; i++) bad = napi_get_value_int64(env, given[i + 1], &at[i]);
  if (bad) return to_number(env, EINVAL);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return to_number(env, errno);
  void *mapped = mmap((void *)at[0], at[1], PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, at[2]);
  int error = mapped == MAP_FAILED ? errno : 0;
  close(file);
  return to_number(env, error);
}

value napi_register_module_v1(void *env, value exports) {
  export(env, exports, "map", map_now);
  return exports;
}
