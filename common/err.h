// Failure classes and the one error object.
//
// Every fallible function returns its class (GW_OK is 0) and takes `struct gw_err *err` last. The class
// decides what is done about it; the text is for people. An error is set once, where it happens, with the
// native code; callers put what they were doing in front of it (gw_err_wrap). Neither part ever holds a
// password, and row values only where they are on their way to the exceptions table.
#ifndef GW_ERR_H
#define GW_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum gw_class {
    GW_OK = 0,
    GW_AGAIN,  // nothing to do yet; call again
    GW_END,    // no more of it
    GW_RETRY,  // transient: reconnect and resume
    GW_DATA,   // this row cannot be applied: policy decides
    GW_CONFIG, // an operator must act; do not restart in a loop
    GW_FENCED, // somebody else owns this work now
    GW_BUG,    // an invariant broke: stop before damage
};

struct gw_err {
    enum gw_class cls;
    char code[16]; // SQLSTATE, server errno, or errno name; "" if none
    char message[1024];
    char detail[1024]; // the server's own detail or context
    char hint[512];    // what to do
};

// Both return cls, so that `return gw_err_set(...)` reads well. err may be NULL.
int gw_err_set(struct gw_err *err, enum gw_class cls, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// Puts "<what>: " in front of the message. Returns the class that is already there.
int gw_err_wrap(struct gw_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gw_err_detail(struct gw_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gw_err_hint(struct gw_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gw_err_clear(struct gw_err *err);

// From errno: ENOENT, EACCES … are CONFIG, the rest RETRY. The message is "<what>: <strerror>".
int gw_err_errno(struct gw_err *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

const char *gw_class_name(enum gw_class cls);

// Programmer errors only; stays on in release builds. Input from outside is never asserted.
#define gw_assert(x) ((x) ? (void)0 : gw_assert_failed(#x, __FILE__, __LINE__))
_Noreturn void gw_assert_failed(const char *what, const char *file, int line);

#endif
