/* Shifts the wall clock of a process that preloads this by $EEP_TEST_CLOCK_SHIFT seconds, and leaves the monotonic clocks
 * as they are. It is there for programs that read the clock from several threads before main(): libfaketime, which
 * does much more, loses its own start time there. System calls are made directly, for looking up the C library's
 * functions may allocate, and these programs may bring their own malloc(). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift(void)
{
	const char *seconds = getenv("EEP_TEST_CLOCK_SHIFT");
	return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int failed = syscall(SYS_clock_gettime, clock, now);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += shift();
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec fine;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &fine))
		return -1;
	now->tv_sec = fine.tv_sec;
	now->tv_usec = fine.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec fine;
	if (clock_gettime(CLOCK_REALTIME, &fine))
		return -1;
	if (now)
		*now = fine.tv_sec;
	return fine.tv_sec;
}
