/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl: parse, run one command, exit with what came of it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/complete.h"

static bool colour_wanted(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

/* As the terminal says; else as the shell does, which exports it for those that do not. */
static size_t terminal_width(void)
{
    struct winsize size = {0};
    const char *columns = getenv("COLUMNS");
    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return columns != NULL ? strtoul(columns, NULL, 10) : 0;
}

static void print_about(struct isola__cli *cli)
{
    struct isola_buf text = {0};
    if (cli->options.version)
        isola_buf_puts(&text, cli->options.json ? ISOLA_VERSION : "ctl " ISOLA_VERSION "\n");
    else
        isola__command_help(cli->options.command, &text);
    if (!cli->options.json) {
        isola__out(cli, &text);
        return;
    }
    json_t *document = json_object();
    json_object_set_new(document, cli->options.version ? "version" : "help",
                        json_stringn((const char *)text.data, text.len));
    isola__out_json(cli, document, false);
    json_decref(document);
    isola_buf_free(&text);
}

/* A standard stream that was closed would be the number of the next socket, which then got what is
 * printed. */
static void open_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    open_streams();
    struct isola__cli cli = {.status = ISOLA__DONE};
    struct isola_err err;
    signal(SIGPIPE, SIG_IGN); /* a reader or an agent that goes away is an error code */
    cli.colour = colour_wanted();
    cli.width = terminal_width();
    if (argc > 1 && strcmp(argv[1], "__complete") == 0)
        isola__complete(&cli, argc - 2, argv + 2);
    else if (isola__options_parse(argc, argv, &cli.options, &err) != 0)
        isola__fail_usage(&cli, "%s", err.text);
    else if (cli.options.help || cli.options.version)
        print_about(&cli);
    else if (isola__options_socket(cli.options.node, &cli.socket, &err) != 0)
        isola__fail_usage(&cli, "%s", err.text);
    else
        cli.options.command->run(&cli);
    free(cli.socket);
    isola__options_free(&cli.options);
    return cli.status;
}
