/*
 * json_path.h - paths in JSON.  A path is bytes; one that is not UTF-8 is written in base64 too.
 */
#ifndef DATA_JSON_PATH_H
#define DATA_JSON_PATH_H

#include "../io/json.h"

/* Adds "path", and "path_b64" where it is not UTF-8. */
void json_path(struct json_out *j, const char *path);

#endif
