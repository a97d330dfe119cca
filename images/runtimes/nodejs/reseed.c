// Gives Node's OpenSSL what the kernel has of randomness now. Loading it does that, each time; there is nothing to call.
#include <stddef.h>
#include <sys/random.h>

void RAND_add(const void *buffer, int length, double entropy);

int node_api_module_get_api_version_v1(void) { return 8; }

void *napi_register_module_v1(void *env, void *exports) {
  unsigned char fresh[64];
  (void)env;
  // Not whole only where the kernel has no such call.
  if (getrandom(fresh, sizeof fresh, 0) != sizeof fresh) __builtin_trap();
  RAND_add(fresh, sizeof fresh, sizeof fresh);
  return exports;
}
