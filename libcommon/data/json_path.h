/*
 * json_path.h - a path in JSON.  A path is bytes: what JSON cannot hold goes beside it in base64.
 */
#ifndef DATA_JSON_PATH_H
#define DATA_JSON_PATH_H

#include "../io/json.h"

/* "path"; and "path_b64" when it is not UTF-8. */
void json_path(struct json_out *j, const char *path);

#endif
