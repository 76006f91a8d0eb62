/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether an actor-host answers: who looks may have stood still, who is looked at may be stopped.
 */
#include "node-agent/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LIMIT 60

static struct isola__pulse pulse;
static struct isola__pulse_look now;

static int start(void **state)
{
    (void)state;
    pulse = (struct isola__pulse){0};
    now = (struct isola__pulse_look){.frames_in = 7, .bytes_out = 100};
    return isola__pulse_look(&pulse, &now, LIMIT) == ISOLA__PULSE_WAIT ? 0 : -1; /* asks */
}

/* Looks `n` times, and nothing must follow from it. */
static void nothing_follows(unsigned n)
{
    while (n-- > 0)
        assert_int_equal(isola__pulse_look(&pulse, &now, LIMIT), ISOLA__PULSE_WAIT);
}

static void follows(enum isola__pulse_verdict verdict)
{
    assert_int_equal(isola__pulse_look(&pulse, &now, LIMIT), verdict);
}

static void silent_then_stuck(void **state)
{
    (void)state;
    nothing_follows(ISOLA__PULSE_SILENT - 1);
    assert_false(isola__pulse_silent(&pulse));
    follows(ISOLA__PULSE_FELL_SILENT); /* said once */
    assert_true(isola__pulse_silent(&pulse));
    nothing_follows(LIMIT - ISOLA__PULSE_SILENT - 1);
    follows(ISOLA__PULSE_STUCK);
    assert_int_equal(pulse.stuck, LIMIT);
}

static void never_stuck(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 1000; i++)
        assert_int_equal(isola__pulse_look(&pulse, &now, 0),
                         i == ISOLA__PULSE_SILENT ? ISOLA__PULSE_FELL_SILENT : ISOLA__PULSE_WAIT);
}

static void stopped_is_not_stuck(void **state)
{
    (void)state;
    now.stopped = true;
    nothing_follows(ISOLA__PULSE_SILENT - 1);
    follows(ISOLA__PULSE_FELL_SILENT);
    nothing_follows(1000);
    /* It goes on: all of the time is its own again. */
    now.stopped = false;
    nothing_follows(LIMIT - 1);
    now.stopped = true;
    nothing_follows(1);
    now.stopped = false;
    nothing_follows(LIMIT - 1);
    follows(ISOLA__PULSE_STUCK);
}

static void signs_of_life(void **state)
{
    (void)state;
    nothing_follows(ISOLA__PULSE_SILENT - 1);
    now.frames_in++; /* not an answer, but it came from it */
    nothing_follows(1);
    assert_int_equal(pulse.silent, 0);

    now.bytes_out += 10; /* has been sent, but nobody may have read it */
    nothing_follows(1);
    assert_int_equal(pulse.silent, 1);
    now.queued = true; /* there was no room for more */
    nothing_follows(1);
    assert_int_equal(pulse.silent, 2);
    now.bytes_out += 10; /* there is again: it has read */
    nothing_follows(1);
    assert_int_equal(pulse.silent, 0);
    nothing_follows(1); /* a queue that stands still is none */
    assert_int_equal(pulse.silent, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, start)
    const struct CMUnitTest tests[] = {
        TEST(silent_then_stuck),
        TEST(never_stuck),
        TEST(stopped_is_not_stuck),
        TEST(signs_of_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
