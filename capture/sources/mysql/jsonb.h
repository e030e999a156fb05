// MySQL's binary JSON as the text that the server gives of it. Pure.
#ifndef GW_MYSQL_JSONB_H
#define GW_MYSQL_JSONB_H

#include "capture/sources/mysql/binlog.h"

// Appends the text. GW_BUG: the bytes are no document.
int jb_text(struct bl_bytes value, struct gw_buf *out, struct gw_err *err);

#endif
