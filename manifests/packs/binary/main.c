/* A program that says every second that it is there, and ends when it is asked to (SIGTERM). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void stop(int number) {
  (void)number;
  stopping = 1;
}

int main(void) {
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *version = getenv("STARK_PACK_VERSION");
  for (unsigned long tick = 1; !stopping; tick += 1) {
    printf("@NAME@ %s: tick %lu\n", version ? version : "", tick);
    sleep(1);
  }
  puts("stopping");
  return 0;
}
