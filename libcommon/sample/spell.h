/*
 * spell.h - spells text of any script in ASCII, where there is no font for it.
 *
 * Accents are dropped; Greek, Cyrillic, Hebrew, Arabic, kana and Hangul are spelled in Latin letters; a character
 * without a spelling is named by its number, as \u732b.  Must not know fonts.
 */
#ifndef SAMPLE_SPELL_H
#define SAMPLE_SPELL_H

char *spell(const char *text);  /* malloced; line ends stay, bytes that are no UTF-8 are named too, as \xff */

#endif
