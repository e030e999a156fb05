#include "capture/driver.h"

int
main(int argc, char **argv)
{
    return gw_worker_main(argc, argv, &gw_capture_stage);
}
