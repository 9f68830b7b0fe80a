/* The contract of name_read(): what it accepts is a name that reads the same again, whose labels
 * are the bytes of the input with upper case folded; it never looks past the root label. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The labels of `n` are those of the input, folded. */
static void check_labels(const struct name *n, const uint8_t *data)
{
    size_t pos = 0;
    for (unsigned i = 0; i < n->n_labels; i++) {
        struct span label = name_label(n, i);
        if (label.len == 0 || label.len > NAME_LABEL_MAX || label.len != data[pos])
            abort();
        for (size_t k = 0; k < label.len; k++) {
            uint8_t c = data[pos + 1 + k];
            if (label.p[k] != (c >= 'A' && c <= 'Z' ? c + 32 : c))
                abort();
        }
        pos += 1 + label.len;
    }
    if (pos + 1 != n->len)
        abort();
}

/* Its text is printable, and what name_parse() takes of such texts is the name again. */
static void check_text(const struct name *n)
{
    struct name again;
    char text[NAME_TEXT_MAX];
    name_format(n, text);
    for (const char *c = text; *c != 0; c++) {
        if (!isprint((unsigned char)*c))
            abort();
    }
    if (name_parse(&again, text) == ERR_OK &&
        (again.len != n->len || memcmp(again.wire, n->wire, n->len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct name n, again;
    if (name_read(&n, (struct span){ data, size }) != ERR_OK)
        return 0;
    if (n.len == 0 || n.len > size || n.wire[n.len - 1] != 0)
        abort();
    check_labels(&n, data);
    check_text(&n);
    /* without what follows it, and without a byte of it */
    if (name_read(&again, (struct span){ n.wire, n.len }) != ERR_OK || again.len != n.len ||
        memcmp(again.wire, n.wire, n.len) != 0)
        abort();
    if (name_read(&again, (struct span){ data, n.len - 1u }) == ERR_OK)
        abort();
    return 0;
}
