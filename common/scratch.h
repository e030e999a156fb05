// Files for what is too large for memory, and of use to this process alone.
//
// Such a file has no name: it is gone with the process, however that ends, so there is nothing to tidy up and nothing for anybody
// else to open. It is made 0600 all the same, for file systems where it must have a name for a moment.
#ifndef GW_SCRATCH_H
#define GW_SCRATCH_H

#include "common/err.h"

// Where they are made from now on; before: $TMPDIR, else /var/tmp. A worker of `godwit run` is told the state folder.
void gw_scratch_folder_set(const char *folder);
const char *gw_scratch_folder(void);
// Opens one for reading and writing. CONFIG where the folder does not take it.
int gw_scratch_open(int *ret_fd, struct gw_err *err);

#endif
