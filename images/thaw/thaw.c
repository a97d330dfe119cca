// PID 1 of the guest. It answers the host's lines on the thaw port, and is all that runs between a restore and the application's
// next instruction: no process is started here, nothing is allocated, what can be open stays open. Protocol: src/agent/protocol.ts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/virtio-ports/torpor.thaw"
#define CGROUP "/sys/fs/cgroup/torpor-app/"
#define RUN "/run/torpor/"
#define ENTROPY_BYTES 64

static int port, freezer, events, randomness;

// What the application sees of its identity, open from the start. Rewritten in place: these files are bind-mounted into the
// application's tree, so they may never be replaced.
enum { HOSTNAME, HOSTS, MACHINE, BOOT, SECRET, FILES };
static const char *const paths[FILES] = {RUN "hostname", RUN "hosts", RUN "machine-id", RUN "boot_id", RUN "secret"};
static int files[FILES];

static const char *fail(const char *what) {
  static char text[128];
  snprintf(text, sizeof text, "ERR %s: %s\n", what, strerror(errno));
  return text;
}

static int put(int file, const char *text) {
  char now[160];
  ssize_t length = strlen(text);
  // What is so already is left alone, with what the application has added to it.
  if (pread(files[file], now, length, 0) == length && !memcmp(now, text, length)) return 0;
  if (pwrite(files[file], text, length, 0) != length) return -1;
  // What is as long as before is not cut off: that would cost a page and the way to another.
  return lseek(files[file], 0, SEEK_END) != length && ftruncate(files[file], length) ? -1 : 0;
}

static int unhex(unsigned char *to, const char *hex, int bytes) {
  for (int i = 0; i < bytes; i++)
    if (sscanf(hex + 2 * i, "%2hhx", to + i) != 1) return -1;
  return 0;
}

// The application has a UTS namespace of its own as soon as it has been started. Entered before a snapshot, not after a restore.
static int enter_uts(void) {
  int uts = open(RUN "uts", O_RDONLY | O_CLOEXEC);
  if (uts < 0) return -1;
  // EINVAL: nothing is mounted there yet, it is a plain file.
  int bad = setns(uts, CLONE_NEWUTS) && errno != EINVAL;
  close(uts);
  return bad ? -1 : 0;
}

static const char *freeze(void) {
  char state[64];
  if (enter_uts()) return fail("uts");
  if (pwrite(freezer, "1", 1, 0) != 1) return fail("freeze");
  for (;;) {
    ssize_t got = pread(events, state, sizeof state - 1, 0);
    if (got <= 0) return fail("cgroup.events");
    state[got] = 0;
    if (strstr(state, "frozen 1")) return "OK\n";
    struct pollfd changed = {.fd = events, .events = POLLPRI};
    if (poll(&changed, 1, 10000) == 0) return "ERR freeze: not frozen after 10 s\n";
  }
}

static int reseed(const char *hex) {
  struct {
    struct rand_pool_info info;
    unsigned char bytes[ENTROPY_BYTES];
  } entropy = {.info = {.entropy_count = ENTROPY_BYTES * 8, .buf_size = ENTROPY_BYTES}};
  if (unhex((unsigned char *)entropy.info.buf, hex, ENTROPY_BYTES)) return -1;
  // Without the second call the generator goes on from its old key for a while, and siblings agree.
  return ioctl(randomness, RNDADDENTROPY, &entropy) || ioctl(randomness, RNDRESEEDCRNG) ? -1 : 0;
}

static int rename_host(const char *hostname) {
  char hosts[160];
  snprintf(hosts, sizeof hosts, "127.0.0.1 localhost\n127.0.0.1 %s\n", hostname);
  if (put(HOSTNAME, hostname) || put(HOSTS, hosts)) return -1;
  return sethostname(hostname, strlen(hostname));
}

static int set_clock(long long ns) {
  struct timespec now = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  return clock_settime(CLOCK_REALTIME, &now);
}

// All that a guest needs which was only stopped: nothing but time has passed.
static const char *catch_up(const char *line) {
  long long ns;
  if (sscanf(line, "C %lld", &ns) != 1) return "ERR malformed line\n";
  return set_clock(ns) ? fail("clock") : "OK\n";
}

// All that a restored guest needs. In a rehearsal, of a process that stands ready, the application stays where it is.
static const char *thaw(const char *line) {
  static char hostname[64], machine[34], entropy[2 * ENTROPY_BYTES + 1], secret[65];
  char boot[40];
  long long ns;
  unsigned incarnation;
  if (sscanf(line + 1, " %lld %63s %32s %128s %64s %u", &ns, hostname, machine, entropy, secret, &incarnation) != 6 ||
      strlen(machine) != 32)
    return "ERR malformed line\n";
  if (set_clock(ns)) return fail("clock");
  if (reseed(entropy)) return fail("entropy");
  if (put(SECRET, secret)) return fail("secret");
  // As a clone's own boot would have one: the same in every life of a VM, another in every VM.
  snprintf(boot, sizeof boot, "%.8s-%.4s-4%.3s-a%.3s-%.12s\n", machine + 24, machine + 20, machine + 17, machine + 14, machine);
  strcat(machine, "\n");
  if (put(MACHINE, machine) || put(BOOT, boot)) return fail("identity");
  if (rename_host(hostname)) return fail("hostname");
  if (*line == 'T' && pwrite(freezer, "0", 1, 0) != 1) return fail("unfreeze");
  return "OK\n";
}

// A question's number goes back with its answer: who asked before may have died before it came.
static void answer(const char *line) {
  char text[160];
  const char *space = strchr(line, ' ');
  int number = space ? space - line : 0;
  if (number < 1 || number > 16) return;
  const char *words = space[1] == 'F'   ? freeze()
                      : space[1] == 'T' || space[1] == 'R' ? thaw(space + 1)
                      : space[1] == 'C' ? catch_up(space + 1)
                                        : "ERR unknown command\n";
  snprintf(text, sizeof text, "%.*s %s", number, line, words);
  while (write(port, text, strlen(text)) < 0 && errno == EINTR);
}

int main(void) {
  static char line[1024];
  size_t length = 0;
  sigset_t io;
  // As PID 1 it inherits every orphan: ignored children leave no zombies.
  signal(SIGCHLD, SIG_IGN);
  sigemptyset(&io);
  sigaddset(&io, SIGIO);
  sigprocmask(SIG_BLOCK, &io, NULL);
  port = open(PORT, O_RDWR | O_CLOEXEC);
  freezer = open(CGROUP "cgroup.freeze", O_WRONLY | O_CLOEXEC);
  events = open(CGROUP "cgroup.events", O_RDONLY | O_CLOEXEC);
  randomness = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  for (int i = 0; i < FILES; i++)
    if ((files[i] = open(paths[i], O_RDWR | O_CLOEXEC)) < 0) return perror(paths[i]), 1;
  if (port < 0 || freezer < 0 || events < 0 || randomness < 0) return perror("thaw"), 1;
  // While no host is connected a read answers 0 at once; the signal says when that has changed.
  if (fcntl(port, F_SETOWN, getpid()) || fcntl(port, F_SETFL, O_ASYNC)) return perror("thaw: port"), 1;
  for (;;) {
    ssize_t got = read(port, line + length, sizeof line - 1 - length);
    if (got <= 0) {
      length = 0;
      sigwaitinfo(&io, NULL);
      continue;
    }
    length += got;
    line[length] = 0;
    if (line[length - 1] == '\n') answer(line), length = 0;
    else if (length == sizeof line - 1) length = 0;
  }
}
