// godwit: finds the subcommand.
#include <stdio.h>
#include <string.h>

#include "cli/options.h"

static const struct gw_command *const commands[] = {
    &gw_command_run, &gw_command_check, &gw_command_tables, &gw_command_drop, &gw_command_keygen,
};
enum { COMMANDS_N = sizeof commands / sizeof *commands };

static void
print_help(FILE *to)
{
    fprintf(to, "godwit: moves a database to another server, of the same kind or another\n\n"
                "usage: godwit COMMAND TASK.json [options]\n"
                "       godwit keygen DIR\n\n");
    for (size_t i = 0; i < COMMANDS_N; i++) {
        fprintf(to, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(to, "\n  godwit COMMAND --help    its options, with examples\n"
                "  godwit --version         print the version\n\n"
                "A task is one JSON file: the two ends, and table mappings and settings as AWS DMS writes them.\n"
                "The smallest, shop.json:\n\n"
                "  {\n"
                "    \"task\": \"shop\",\n"
                "    \"migration-type\": \"full-load\",\n"
                "    \"source\": {\"url\": \"mysql://repl@db1/shop\", \"password-env\": \"SHOP_PASSWORD\"},\n"
                "    \"target\": {\"url\": \"postgresql://etl@db2/shop\", \"password-file\": \"/run/secrets/etl\"},\n"
                "    \"table-mappings\": {\"rules\": [{\"rule-type\": \"selection\", \"rule-id\": \"1\",\n"
                "      \"rule-name\": \"all\", \"rule-action\": \"include\",\n"
                "      \"object-locator\": {\"schema-name\": \"shop\", \"table-name\": \"%%\"}}]}\n"
                "  }\n\n"
                "examples:\n"
                "  godwit check shop.json\n"
                "  godwit run shop.json\n"
                "  godwit tables shop.json\n"
                "  godwit drop shop.json\n"
                "  godwit keygen keys\n\n"
                "exit codes: 0 done, 1 some table in error, 2 bad usage or configuration, 3 an end cannot be\n"
                "            reached, 4 stopped by a signal: the same command goes on\n");
}

static const struct gw_command *
find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS_N; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int
unknown_command(const char *name)
{
    const char *names[COMMANDS_N + 1];
    for (size_t i = 0; i < COMMANDS_N; i++) {
        names[i] = commands[i]->name;
    }
    names[COMMANDS_N] = NULL;
    const char *nearest = gw_options_nearest(name, names);
    fprintf(stderr, "godwit: unknown command \"%s\"", name);
    if (nearest) {
        fprintf(stderr, "; did you mean \"%s\"?", nearest);
    }
    fprintf(stderr, "\nhint: run, check, tables, drop, keygen; see godwit --help\n");
    return GW_EXIT_USAGE;
}

// A help text that could not be written is worth an exit code, as for any other output.
static int
printed(void)
{
    return fflush(stdout) == 0 ? GW_EXIT_DONE : GW_EXIT_TABLE_ERROR;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return GW_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        printf("godwit %s\n", GW_VERSION);
        return printed();
    }
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    if (help && argc == 2) {
        print_help(stdout);
        return printed();
    }
    const struct gw_command *c = find_command(help ? argv[2] : word);
    if (!c) {
        return unknown_command(help ? argv[2] : word);
    }
    struct gw_options o;
    if (!help && !gw_options_parse(&o, c, argc - 1, argv + 1)) {
        return GW_EXIT_USAGE;
    }
    if (help || o.help) {
        fputs(c->help, stdout);
        return printed();
    }
    return c->run(&o);
}
