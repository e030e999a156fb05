// Named fault points: places between two durable effects where a test can make the process die or fail.
//
//   GODWIT_FAULT="apply.before_commit=kill@2"      the second time it is reached: SIGKILL to itself
//   GODWIT_FAULT="apply.before_commit=stop@1"      SIGSTOP (a zombie in the making)
//   GODWIT_FAULT="capture.chunk.read=error@1"      the fault point reports GW_RETRY
//   GODWIT_FAULT="bus.corrupt=on"                  always true
// Several are separated by commas. With GODWIT_FAULT_ONCE=<folder>, a fault fires once over all processes and
// restarts: the first to create <folder>/<name> has it. Compiled out with -DGW_NO_FAULTS (preset release).
//
// Named guards: mechanisms that a test can switch off, to see that some test notices.
//
//   GODWIT_GUARDS_OFF="apply.fence,bus.totals"
// A guard stands where the mechanism says no: `if (rows != 1 && GW_GUARD("apply.fence"))`. It is constant true in release
// builds. tests/guards has a line for each, with the test that must fail without it.
#ifndef GW_FAULT_H
#define GW_FAULT_H

#include <stdbool.h>

#include "common/err.h"

#ifdef GW_NO_FAULTS
#define GW_FAULT(name) (false)
#define GW_GUARD(name) (true)
#else
// True unless the guard is switched off.
#define GW_GUARD(name) gw_guard_on(name)
bool gw_guard_on(const char *name);
// True if the point shall fail; does not return if it shall die.
#define GW_FAULT(name) gw_fault_hit(name)
bool gw_fault_hit(const char *name);
#endif

#endif
