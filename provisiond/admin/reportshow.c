#include "provisiond/admin/reportshow.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/store/report.h"

/* The name that the device has for an address that it has proven, "" when it has none. */
static void name_of(const struct device_row *d, const struct config *c, const struct ip *ip,
                    char *out, size_t cap)
{
    const struct config_zone *zone = config_zone_find(c, d->zone);
    char label[TAG_LABEL_MAX];
    out[0] = 0;
    if (zone == NULL || zone->tag_keys == NULL || ip_classify(ip) != IP_PUBLIC)
        return;
    tagkeys_label(zone->tag_keys, label, span_str(d->id), ip);
    (void)snprintf(out, cap, "%s.%s.%s", label, d->id, zone->name);
}

/* What the device has proven. */
struct proven {
    size_t n;
    struct ip ips[OBSERVED_MAX];
};

static enum err show_observed(struct sql *db, const struct device_row *d, const struct config *c,
                              json_t *o, struct proven *proven, struct err_info *info)
{
    struct observed_row rows[OBSERVED_MAX];
    size_t n;
    json_t *list = o != NULL ? json_array() : NULL;
    enum err e = observed_list(db, d->id, 0, rows, &n, info);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        char name[512] = "", at[CLOCK_TEXT_MAX];
        if (rows[i].at >= clock_now_s() - OBSERVED_PROVEN_S) {
            proven->ips[proven->n++] = rows[i].ip;
            name_of(d, c, &rows[i].ip, name, sizeof name);
        }
        clock_format(rows[i].at, at, sizeof at);
        if (o == NULL) {
            (void)printf("seen from    %s at %s%s%s\n", rows[i].address, at,
                         name[0] != 0 ? ": " : "", name);
            continue;
        }
        json_t *one = json_object();
        jsonline_text(one, "address", rows[i].address);
        jsonline_time(one, "at", rows[i].at);
        jsonline_text(one, "name", name);
        (void)json_array_append_new(list, one);
    }
    if (o != NULL)
        (void)json_object_set_new(o, "observed", list);
    return e;
}

static const char *answer_text(enum reportbody_answer a)
{
    static const char *const TEXTS[] = { "not known", "no", "yes", "by some resolvers" };
    return TEXTS[a];
}

static void print_dns(const struct reportbody_dns *d)
{
    (void)printf("resolver     %s:", d->server);
    const char *const classes[] = { " IPv4 ",         d->class_v4,  ", ULA ",    d->class_ula,
                                    ", global IPv6 ", d->class_gua, ", likely ", d->product };
    for (size_t i = 0; i < ARRAY_LEN(classes); i += 2) {
        if (classes[i + 1][0] != 0)
            (void)printf("%s%s", classes[i], classes[i + 1]);
    }
    (void)putchar('\n');
}

static void print_report(const struct report_row *row, const struct reportbody *b,
                         const struct proven *proven)
{
    char at[CLOCK_TEXT_MAX], address[NETWORK_TEXT_MAX];
    clock_format(row->at, at, sizeof at);
    (void)printf("reported     %s%s", at, b->nearby ? ", found by browsers nearby" : "");
    if (b->name[0] != 0) {
        (void)fputs(", as ", stdout);
        admin_print_plain(b->name, SIZE_MAX);
    }
    (void)putchar('\n');
    for (size_t i = 0; i < b->n_connections; i++) {
        const struct reportbody_connection *c = &b->connections[i];
        network_address_text(&c->ip, address);
        (void)printf("connection   %s %s port %u%s\n", reportbody_kind_name(c->kind), address,
                     (unsigned)c->port,
                     reportbody_is_proven(c, proven->ips, proven->n) ? "" : " (not proven)");
    }
    if (b->rebinding != REPORTBODY_UNKNOWN)
        (void)printf("filtered     private answers: %s\n", answer_text(b->rebinding));
    if (b->nat_loopback != REPORTBODY_UNKNOWN)
        (void)printf("hairpin      %s\n", answer_text(b->nat_loopback));
    for (size_t i = 0; i < b->n_dns; i++)
        print_dns(&b->dns[i]);
    for (size_t i = 0; i < b->n_pins; i++)
        (void)printf("pin          %s\n", b->pins[i]);
}

static enum err show_report(struct sql *db, const struct device_row *d, json_t *o,
                            const struct proven *proven, struct err_info *info)
{
    struct report_row row;
    struct reportbody b;
    if (o != NULL)
        (void)json_object_set_new(o, "report", json_null());
    enum err e = report_get(db, d->id, &row, info);
    if (e == ERR_NOTFOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    /* one of a newer version says nothing to this one */
    bool known = reportbody_parse(&b, span_str(row.body), NULL) == ERR_OK;
    if (known && o == NULL) {
        print_report(&row, &b, proven);
    } else if (known) {
        json_t *j = json_loads(row.body, 0, NULL);
        jsonline_time(j, "at", row.at);
        (void)json_object_set_new(o, "report", j);
    }
    report_clear(&row);
    return ERR_OK;
}

enum err reportshow(struct sql *db, const struct device_row *d, const struct config *c, json_t *o,
                    struct err_info *info)
{
    struct proven proven = { .n = 0 };
    enum err e = show_observed(db, d, c, o, &proven, info);
    return e == ERR_OK ? show_report(db, d, o, &proven, info) : e;
}
