// What a worker is told when it is started: its command line, who it is, where it receives.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bus.h"
#include "common/scratch.h"
#include "common/worker_priv.h"

static void
print_help(const struct gw_stage *s)
{
    printf("godwit-%s: %s\n\n"
           "usage: godwit-%s --coordinator ENDPOINT [options]\n\n"
           "  --coordinator ENDPOINT  the coordinator's control bus: ipc://PATH or tcp://HOST:PORT\n"
           "  --key FILE              this worker's keys, made by godwit keygen: needed off this host\n"
           "  --name NAME             unique among the workers (default: %s-<host>-<pid>); a newcomer of the\n"
           "                          same name replaces the one before it\n",
           s->name, s->summary, s->name, s->name);
    if (s->receives) {
        printf("  --data-address ADDR[:PORT]\n"
               "                          where to receive rows: an address or interface of this host that the\n"
               "                          other workers reach (default: the one that leads to the coordinator,\n"
               "                          and a free port)\n");
    }
    printf("  --insecure-plain-tcp    without --key: let TCP leave this host all the same, unencrypted\n"
           "  --log FILE              append the log there, too\n"
           "  --scratch FOLDER        for what is too large for memory; files without names, gone with this process\n"
           "                          (default: the log's folder, else $TMPDIR, else /var/tmp)\n"
           "  --version               print the version\n\n"
           "examples:\n"
           "  godwit-%s --coordinator tcp://10.0.0.5:7750 --key worker.key\n"
           "  godwit-%s --coordinator ipc:///run/godwit/shop/control --name %s-1\n\n"
           "Everything else comes from the coordinator. It may be killed and started again at any time.\n"
           "exit codes: 0 told to stop, 2 bad usage or configuration, 1 any other failure\n",
           s->name, s->name, s->name);
}

static int
usage(const struct gw_stage *stage, const char *what)
{
    fprintf(stderr, "godwit-%s: %s; see --help\n", stage->name, what);
    return 2;
}

int
gw_worker_options_parse(struct gw_worker_options *o, const struct gw_stage *stage, int argc, char **argv)
{
    static const struct option options[] = {
        {"coordinator", required_argument, NULL, 'c'},
        {"name", required_argument, NULL, 'n'},
        {"log", required_argument, NULL, 'l'},
        {"scratch", required_argument, NULL, 's'},
        {"key", required_argument, NULL, 'k'},
        {"data-address", required_argument, NULL, 'd'},
        {"insecure-plain-tcp", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    bool scratch = false;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'c': o->endpoint = optarg; break;
        case 'n': o->name_given = optarg; break;
        case 'l': o->log = optarg; break;
        case 's':
            gw_scratch_folder_set(optarg);
            scratch = true;
            break;
        case 'k': o->key = optarg; break;
        case 'd': o->data_address = optarg; break;
        case 'i': o->plain = true; break;
        case 'h': print_help(stage); return 0;
        case 'v': printf("godwit-%s %s\n", stage->name, GW_VERSION); return 0;
        default: return 2;
        }
    }
    if (o->log && !scratch) {
        const char *slash = strrchr(o->log, '/');
        char folder[GW_ENDPOINT_MAX];
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - o->log) : 1, slash ? o->log : ".");
        gw_scratch_folder_set(folder);
    }
    if (!o->endpoint || optind != argc) {
        return usage(stage, "--coordinator ENDPOINT is needed");
    }
    if (o->key && o->plain) {
        return usage(stage, "--key and --insecure-plain-tcp exclude each other");
    }
    if (o->data_address && !stage->receives) {
        return usage(stage, "--data-address is for workers that receive rows");
    }
    return -1;
}

// Who this process is, and whom it looks for.
int
gw_worker_identify(struct gw_worker_options *o, const struct gw_stage *stage, struct gw_err *err)
{
    static struct gw_keys keys;
    struct gw_endpoint e;
    if (o->key && gw_keys_load(o->key, &keys, err) != GW_OK) {
        return err->cls;
    }
    gw_identity_set(o->key ? &keys : NULL, o->plain);
    int r = gw_endpoint_parse(o->endpoint, &e, err);
    r = r == GW_OK ? gw_identity_allows(&e, err) : r;
    if (r != GW_OK) {
        return r;
    }
    // Whoever answers there proves that it is the coordinator of the key file.
    snprintf(o->coordinator, sizeof o->coordinator, "%s%s%s", e.address, e.tcp && o->key ? "#" : "",
             e.tcp && o->key ? keys.coordinator : "");
    if (o->name_given) {
        snprintf(o->name, sizeof o->name, "%s", o->name_given);
    } else if (gw_endpoint_leaves_host(&e)) {
        char host[32] = "";
        (void)gethostname(host, sizeof host - 1);
        snprintf(o->name, sizeof o->name, "%s-%s-%d", stage->name, host, (int)getpid());
    } else {
        snprintf(o->name, sizeof o->name, "%s-%d", stage->name, (int)getpid());
    }
    return GW_OK;
}

static int
given_address(const char *address, char *bind, size_t size, struct gw_err *err)
{
    // A colon is in front of a port, unless it is one of an IPv6 address.
    const char *colon = strrchr(address, ':'), *bracket = strrchr(address, ']');
    bool has_port = colon && (!bracket || colon > bracket);
    snprintf(bind, size, "tcp://%s%s", address, has_port ? "" : ":*");
    struct gw_endpoint e;
    if (gw_endpoint_parse(bind, &e, err) != GW_OK) {
        return gw_err_wrap(err, "--data-address");
    }
    if (e.any) {
        return gw_err_set(err, GW_CONFIG, NULL,
                          "--data-address: the other workers are told this address, so it must be a certain one");
    }
    return GW_OK;
}

void *
gw_worker_bind_data(void *zctx, const struct gw_worker_options *o, char *endpoint, size_t size, struct gw_err *err)
{
    char bind[GW_ENDPOINT_MAX], address[256];
    struct gw_endpoint e;
    int r = gw_endpoint_parse(o->coordinator, &e, err);
    if (r == GW_OK && o->data_address) {
        r = given_address(o->data_address, bind, sizeof bind, err);
    } else if (r == GW_OK && !e.tcp) {
        // The pid keeps a successor off the socket of one that is not quite dead.
        snprintf(bind, sizeof bind, "%.*s/%s.%d", (int)(strrchr(e.address, '/') - e.address), e.address, o->name,
                 (int)getpid());
    } else if (r == GW_OK) {
        r = gw_net_address_towards(&e, address, sizeof address, err);
        snprintf(bind, sizeof bind, strchr(address, ':') ? "tcp://[%s]:*" : "tcp://%s:*", address);
    }
    return r == GW_OK ? gw_router_bind(zctx, bind, endpoint, size, err) : NULL;
}
