/* SPDX-License-Identifier: MIT */
/* The user's terminal while it is a guest's console. */
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"

struct terminal {
	int is_tty;
	struct termios old;
};

struct terminal *terminal_begin(void)
{
	struct terminal *t = calloc(1, sizeof(*t));
	struct termios raw;

	if (!t || !isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &t->old))
		return t;
	t->is_tty = 1;
	raw = t->old;
	cfmakeraw(&raw);
	/* The guest writes "\n" where it means the next line, as on any serial console with a tty.
	 */
	raw.c_oflag |= OPOST | ONLCR;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	return t;
}

void terminal_end(struct terminal *t)
{
	if (t && t->is_tty)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->old);
	free(t);
}
