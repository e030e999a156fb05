#include "cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/format.h"
#include "common/clock.h"

enum { LINE_BYTES_MAX = 16384 };
static const int64_t repeat_us = 10 * GW_S;

int
gw_relay_open(struct gw_relay *r, enum gw_log_level least, bool show, struct gw_err *err)
{
    int fds[2];
    memset(r, 0, sizeof *r);
    r->read_fd = r->write_fd = -1;
    r->least = least;
    r->show = show;
    gw_buf_init(&r->partial, LINE_BYTES_MAX);
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return gw_err_errno(err, errno, "make a pipe");
    }
    // Our end only: a child that finds the pipe full waits, as it would on a slow terminal.
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    r->read_fd = fds[0];
    r->write_fd = fds[1];
    return GW_OK;
}

void
gw_relay_close(struct gw_relay *r)
{
    if (r->read_fd >= 0) {
        close(r->read_fd);
        close(r->write_fd);
        r->read_fd = r->write_fd = -1;
    }
    for (size_t i = 0; i < GW_RELAY_KEPT; i++) {
        free(r->kept[i]);
        r->kept[i] = NULL;
    }
    gw_buf_fini(&r->partial);
}

// ---- one line ------------------------------------------------------------------------------------

struct log_line {
    const char *time, *who, *text;
    int time_len, who_len;
    enum gw_log_level level;
};

// `2026-01-02T03:04:05.678Z warn capture-1 text`
static bool
parse_line(const char *line, struct log_line *ret)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; shape[i]; i++) {
        bool digit = line[i] >= '0' && line[i] <= '9';
        if (shape[i] == 'd' ? !digit : line[i] != shape[i]) {
            return false;
        }
    }
    const char *p = line + sizeof shape - 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        const char *who = p + n + 1;
        if (strncmp(p, names[i], n) == 0 && p[n] == ' ' && strchr(who, ' ')) {
            *ret = (struct log_line){.time = line + 11,
                                     .time_len = 8,
                                     .level = (enum gw_log_level)i,
                                     .who = who,
                                     .who_len = (int)(strchr(who, ' ') - who),
                                     .text = strchr(who, ' ') + 1};
            return true;
        }
    }
    return false;
}

// Whether the same was shown a moment ago. A server that is away makes every worker say so, again and again.
static bool
held_back(struct gw_relay *r, const char *text, int64_t now_us, uint32_t *before)
{
    uint64_t hash = XXH3_64bits(text, strlen(text));
    for (size_t i = 0; i < GW_RELAY_SEEN; i++) {
        if (r->seen[i].shown_us && r->seen[i].hash == hash) {
            if (now_us - r->seen[i].shown_us < repeat_us) {
                r->seen[i].held_back++;
                return true;
            }
            *before = r->seen[i].held_back;
            r->seen[i].held_back = 0;
            r->seen[i].shown_us = now_us;
            return false;
        }
    }
    r->seen[r->seen_at].hash = hash;
    r->seen[r->seen_at].shown_us = now_us;
    r->seen[r->seen_at].held_back = 0;
    r->seen_at = (r->seen_at + 1) % GW_RELAY_SEEN;
    *before = 0;
    return false;
}

bool
gw_relay_line(struct gw_relay *r, const char *line, int64_t now_us, const struct gw_style *style, struct gw_buf *out)
{
    struct log_line l;
    if (!parse_line(line, &l)) {
        gw_text_wrap(out, line, SIZE_MAX, 0, style->utf8);
        gw_buf_putc(out, '\n');
        return true;
    }
    uint32_t before = 0;
    if (l.level < r->least || (l.level >= GW_LOG_WARN && held_back(r, l.text, now_us, &before))) {
        return false;
    }
    enum gw_ink ink = l.level == GW_LOG_ERROR ? GW_INK_RED : l.level == GW_LOG_WARN ? GW_INK_YELLOW : GW_INK_DIM;
    static const char *const words[] = {"debug", "info", "warning", "error"};
    gw_ink(out, style, ink);
    gw_buf_printf(out, "%.*s %s", l.time_len, l.time, words[l.level]);
    gw_ink(out, style, GW_INK_PLAIN);
    gw_buf_printf(out, " %.*s: ", l.who_len, l.who);
    gw_text_wrap(out, l.text, SIZE_MAX, 0, style->utf8);
    if (before) {
        gw_buf_printf(out, " (%" PRIu32 " more of these were held back)", before);
    }
    gw_buf_putc(out, '\n');
    return true;
}

// ---- the pipe ------------------------------------------------------------------------------------

static void
keep(struct gw_relay *r, const char *line)
{
    struct log_line l;
    if (parse_line(line, &l) && l.level < GW_LOG_ERROR) {
        return;
    }
    char **slot = &r->kept[r->kept_n++ % GW_RELAY_KEPT];
    free(*slot);
    *slot = strdup(line);
}

static void
end_of_line(struct gw_relay *r, struct gw_term *t, struct gw_buf *out)
{
    const char *line = r->partial.data ? r->partial.data : "";
    if (!r->show) {
        keep(r, line);
    } else {
        gw_relay_line(r, line, gw_now_us(), &t->style, out);
    }
    gw_buf_reset(&r->partial);
}

void
gw_relay_read(struct gw_relay *r, struct gw_term *t)
{
    char chunk[8192];
    struct gw_buf out;
    if (r->read_fd < 0) {
        return;
    }
    gw_buf_init(&out, 1 << 20);
    for (ssize_t n; (n = read(r->read_fd, chunk, sizeof chunk)) > 0;) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n') {
                end_of_line(r, t, &out);
            } else if (chunk[i] && r->partial.len < LINE_BYTES_MAX - 2) { // longer ones are cut
                gw_buf_putc(&r->partial, chunk[i]);
            }
        }
        if (out.len > (1 << 19)) {
            break; // the rest comes with the next call
        }
    }
    if (out.len) {
        gw_term_above(t, out.data, out.len);
    }
    gw_buf_fini(&out);
}

void
gw_relay_tell(struct gw_relay *r, struct gw_term *t)
{
    struct gw_buf out;
    gw_buf_init(&out, 1 << 20);
    size_t first = r->kept_n > GW_RELAY_KEPT ? r->kept_n - GW_RELAY_KEPT : 0;
    for (size_t i = first; i < r->kept_n; i++) {
        gw_relay_line(r, r->kept[i % GW_RELAY_KEPT], gw_now_us(), &t->style, &out);
    }
    r->kept_n = 0;
    if (out.len) {
        gw_term_above(t, out.data, out.len);
    }
    gw_buf_fini(&out);
}
