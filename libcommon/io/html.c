/* HTML pages: head, style, escaping. */
#include <string.h>
#include "../base/printable.h"
#include "html.h"

static const char style[] =
	"<style>\n"
	":root{color-scheme:light dark;--line:#8884;--soft:#777;--bar:#3f7fc4}\n"
	"body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1340px;padding:0 1.2em}\n"
	"h1{font-size:1.5em;margin:0;overflow-wrap:anywhere}h2{font-size:1.1em;margin:1.6em 0 .5em}"
	".soft{color:var(--soft)}\n"
	".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr));gap:1em}\n"
	"svg{width:100%;height:auto;border:1px solid var(--line);border-radius:6px;font:11px system-ui,sans-serif}\n"
	"svg text{fill:currentColor}svg .title{font-size:13px;font-weight:600}"
	"svg .grid{stroke:var(--line)}svg .axis{stroke:currentColor}"
	"svg .good{fill:#2a9d5c2e}\n"
	".strip{display:flex;gap:8px;overflow-x:auto;padding-bottom:6px}figure{margin:0;flex:none}\n"
	"figure img{display:block;width:144px;border-radius:4px}"
	"figcaption{font-size:.8em;color:var(--soft);text-align:center}\n"
	"pre{overflow-x:auto;padding:.8em;border:1px solid var(--line);border-radius:6px;font-size:.85em}\n"
	".one{max-width:720px}.lone{margin:.6em 0}.wide{overflow-x:auto}"
	"table{border-collapse:collapse;font-size:.9em}\n"
	"th,td{text-align:left;padding:.15em .9em .15em 0;vertical-align:top}th{font-weight:600}\n"
	"td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
	"td.long{overflow-wrap:anywhere;min-width:12em}\n"
	".bar{display:inline-block;height:.8em;background:var(--bar);border-radius:2px;min-width:1px}"
	"td.bars{width:100%;min-width:3em}summary{cursor:pointer;margin:.6em 0}\n"
	"</style>\n";

void html_escaped(struct buffer *out, const char *s)
{
	const char *end = s + strlen(s);

	while (s < end) {
		char one[PRINTABLE_LONGEST];
		size_t n = 1;

		one[0] = *s;
		if (*s == '\n' || *s == '\t')
			s++;
		else
			n = printable_next(&s, end, one);
		switch (one[0]) {
		case '<': buffer_adds(out, "&lt;"); break;
		case '>': buffer_adds(out, "&gt;"); break;
		case '&': buffer_adds(out, "&amp;"); break;
		case '"': buffer_adds(out, "&quot;"); break;
		default:  buffer_add(out, one, n);
		}
	}
}

void html_begin(struct buffer *out, const char *title)
{
	buffer_adds(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
		    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
	html_escaped(out, title);
	buffer_addf(out, "</title>\n%s", style);
}

void html_end(struct buffer *out)
{
	buffer_adds(out, "</html>\n");
}
