/*
 * version.h - the one number that --version, metadata and PNG texts show.
 */
#ifndef CONFIG_VERSION_H
#define CONFIG_VERSION_H

#ifndef LORA_VERSION
#define LORA_VERSION "0.1.0"
#endif

#endif
