#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 32 };

enum id {
    O_STATE,
    O_WORKERS,
    O_UNTIL,
    O_FRESH,
    O_RELOAD,
    O_JSON,
    O_QUIET,
    O_VERBOSE,
    O_YES,
    O_LISTEN,
    O_KEY,
    O_PLAIN,
    O_HELP
};
struct known {
    const char *name, *metavar; // metavar NULL: takes no value
    enum id id;
    unsigned set; // 0 = every command has it
};
static const struct known known[] = {
    {"--state", "DIR", O_STATE, GW_OPT_STATE},
    {"--workers", "N", O_WORKERS, GW_OPT_WORKERS},
    {"--until", "WHEN", O_UNTIL, GW_OPT_UNTIL},
    {"--fresh", NULL, O_FRESH, GW_OPT_FRESH},
    {"--reload", NULL, O_RELOAD, GW_OPT_FRESH},
    {"--json", NULL, O_JSON, GW_OPT_JSON},
    {"--quiet", NULL, O_QUIET, GW_OPT_LOUDNESS},
    {"--verbose", NULL, O_VERBOSE, GW_OPT_LOUDNESS},
    {"--yes", NULL, O_YES, GW_OPT_YES},
    {"--listen", "ENDPOINT", O_LISTEN, GW_OPT_LISTEN},
    {"--key", "FILE", O_KEY, GW_OPT_LISTEN},
    {"--insecure-plain-tcp", NULL, O_PLAIN, GW_OPT_LISTEN},
    {"--help", NULL, O_HELP, 0},
};
enum { KNOWN_N = sizeof known / sizeof *known };

// Edits between two words (Levenshtein); long words are far from everything.
static size_t
distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < best ? change : best;
        }
    }
    return row[m];
}

const char *
gw_options_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) > 5 ? 4 : 3; // exclusive
    for (; *words; words++) {
        size_t d = distance(word, *words);
        if (d < best_distance) {
            best_distance = d;
            best = *words;
        }
    }
    return best;
}

static bool
complain(const struct gw_command *c, const char *what, const char *arg, const char *nearest)
{
    fprintf(stderr, "godwit %s: %s \"%s\"", c->name, what, arg);
    if (nearest) {
        fprintf(stderr, "; did you mean \"%s\"?", nearest);
    }
    fprintf(stderr, "\nhint: see godwit %s --help\n", c->name);
    return false;
}

static bool
unknown_option(const struct gw_command *c, const char *arg)
{
    const char *names[KNOWN_N + 1];
    size_t n = 0;
    for (size_t i = 0; i < KNOWN_N; i++) {
        if (!known[i].set || (known[i].set & c->options)) {
            names[n++] = known[i].name;
        }
    }
    names[n] = NULL;
    return complain(c, "unknown option", arg, gw_options_nearest(arg, names));
}

static bool
parse_workers(struct gw_options *o, const struct gw_command *c, const char *value)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (strcmp(value, "0") == 0 && (c->options & GW_OPT_LISTEN)) {
        o->no_workers = true;
        return true;
    }
    if (errno || end == value || *end || *value == '-' || n < 1 || n > GW_WORKERS_MAX) {
        return complain(c, "--workers takes a number from 1 to 49, not", value, NULL);
    }
    o->workers = (unsigned)n;
    o->no_workers = false;
    return true;
}

// What goes with what: said before anything is started.
static bool
check_network(const struct gw_options *o, const struct gw_command *c)
{
    if (!o->listen && (o->key || o->plain || o->no_workers)) {
        const char *what = o->key ? "--key" : o->plain ? "--insecure-plain-tcp" : "--workers 0";
        return complain(c, "--listen ENDPOINT is needed with", what, NULL);
    }
    if (o->key && o->plain) {
        return complain(c, "either --key or", "--insecure-plain-tcp", NULL);
    }
    return true;
}

static bool
parse_until(struct gw_options *o, const struct gw_command *c, const char *value)
{
    static const char *const words[] = {GW_UNTIL_LOAD, GW_UNTIL_CAUGHT_UP, NULL};
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(value, words[i]) == 0) {
            o->until = words[i];
            return true;
        }
    }
    return complain(c, "--until takes load or caught-up, not", value, gw_options_nearest(value, words));
}

static bool
set_option(struct gw_options *o, const struct gw_command *c, enum id id, const char *value)
{
    switch (id) {
    case O_STATE:
        if (!*value) {
            return complain(c, "--state takes a folder, not", value, NULL);
        }
        o->state = value;
        return true;
    case O_WORKERS: return parse_workers(o, c, value);
    case O_UNTIL: return parse_until(o, c, value);
    case O_FRESH: o->fresh = true; return true;
    case O_RELOAD: o->reload = true; return true;
    case O_JSON: o->json = true; return true;
    case O_QUIET: o->loudness = GW_QUIET; return true;
    case O_VERBOSE: o->loudness = GW_VERBOSE; return true;
    case O_YES: o->yes = true; return true;
    case O_LISTEN: o->listen = value; return true;
    case O_KEY: o->key = value; return true;
    case O_PLAIN: o->plain = true; return true;
    case O_HELP: o->help = true; return true;
    }
    return false;
}

// "--name", "--name=value" or "--name value"; *i moves over a value of its own.
static bool
parse_option(struct gw_options *o, const struct gw_command *c, int argc, char **argv, int *i)
{
    const char *arg = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
    for (size_t k = 0; k < KNOWN_N; k++) {
        const struct known *x = &known[k];
        if (strlen(x->name) != len || strncmp(x->name, arg, len) != 0) {
            continue;
        }
        if (x->set && !(x->set & c->options)) {
            return complain(c, "this command has no option", x->name, NULL);
        }
        if (!x->metavar && equals) {
            return complain(c, "no value goes with", x->name, NULL);
        }
        const char *value = equals ? equals + 1 : NULL;
        if (x->metavar && !value) {
            if (*i + 1 >= argc) {
                return complain(c, "a value is missing after", x->name, NULL);
            }
            value = argv[++*i];
        }
        return set_option(o, c, x->id, value);
    }
    return unknown_option(c, arg);
}

bool
gw_options_parse(struct gw_options *o, const struct gw_command *c, int argc, char **argv)
{
    *o = (struct gw_options){.command = c->name};
    bool only_paths = false;
    for (int i = 1; i < argc; i++) {
        if (!only_paths && strcmp(argv[i], "--") == 0) {
            only_paths = true;
        } else if (!only_paths && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(o, c, argc, argv, &i)) {
                return false;
            }
        } else if (o->task_path) {
            return complain(c,
                            c->operand ? "one folder at a time; too much is" : "one task file at a time; too much is",
                            argv[i], NULL);
        } else {
            o->task_path = argv[i];
        }
    }
    if (!o->task_path && !o->help && c->operand) {
        fprintf(stderr, "godwit %s: %s is needed\nhint: see godwit %s --help\n", c->name, c->operand, c->name);
        return false;
    }
    if (!o->task_path && !o->help) {
        fprintf(stderr, "godwit %s: a task file is needed\nhint: godwit %s TASK.json; see godwit %s --help\n", c->name,
                c->name, c->name);
        return false;
    }
    return o->help || check_network(o, c);
}
