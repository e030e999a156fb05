// The command line of each subcommand, read once into one struct.
#ifndef GW_CLI_OPTIONS_H
#define GW_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum gw_option_set {
    GW_OPT_STATE = 1,
    GW_OPT_WORKERS = 2,
    GW_OPT_UNTIL = 4,
    GW_OPT_FRESH = 8,
    GW_OPT_JSON = 16,
    GW_OPT_LOUDNESS = 32, // --quiet, --verbose
    GW_OPT_YES = 64,
    GW_OPT_LISTEN = 128, // --listen, --key, --insecure-plain-tcp; and --workers 0
};
enum { GW_WORKERS_MAX = 49 }; // what MaxFullLoadSubTasks may be at most

// As the coordinator spells them, too.
#define GW_UNTIL_LOAD      "load"
#define GW_UNTIL_CAUGHT_UP "caught-up"

enum gw_loudness { GW_QUIET = -1, GW_NORMAL = 0, GW_VERBOSE = 1 };

struct gw_options {
    const char *command;   // "run"
    const char *task_path; // as given; of a command whose operand is something else, that
    const char *state;     // NULL = the default
    const char *until;     // GW_UNTIL_…; NULL = to the end of a load, for ever with ongoing replication
    const char *listen;    // for workers on other hosts; NULL = none
    const char *key;
    unsigned workers; // 0 = the default
    bool no_workers;  // --workers 0: all of them are on other hosts
    bool plain;       // TCP without keys may leave the host
    bool reload;      // suspended tables are loaded anew
    bool fresh, json, yes, help;
    enum gw_loudness loudness;
};

// Exit codes of the command, as design and documentation promise them.
enum gw_exit {
    GW_EXIT_DONE = 0,
    GW_EXIT_TABLE_ERROR = 1,
    GW_EXIT_USAGE = 2,
    GW_EXIT_UNREACHABLE = 3,
    GW_EXIT_STOPPED = 4,
};

struct gw_command {
    const char *name, *summary, *help;
    unsigned options;    // gw_option_set
    const char *operand; // what is worked on, for messages: "a task file"; NULL = that
    int (*run)(const struct gw_options *o);
};
extern const struct gw_command gw_command_run, gw_command_check, gw_command_tables, gw_command_drop, gw_command_keygen;

// argv[0] is the subcommand's name. False: a message has been printed, exit with GW_EXIT_USAGE.
bool gw_options_parse(struct gw_options *o, const struct gw_command *c, int argc, char **argv);
// The known word that is nearest to `word`, or NULL if none is near. Shared with the subcommand's name.
const char *gw_options_nearest(const char *word, const char *const *known);

#endif
