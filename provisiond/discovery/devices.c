/* devices.c - /v1/devices: what a viewer token or an account shows, adopting one by its code, and
 * letting it go. */
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/discovery/lookup.h"
#include "provisiond/discovery/visit.h"
#include "provisiond/store/device.h"

static const char NO_DEVICE[] = "this token shows no such device";

/* --- GET /v1/devices --- */

static enum err run_list(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    char ids[VIEWER_DEVICES_MAX][DEVID_LEN + 1];
    size_t n = 0;
    int64_t now_s = clock_now_s();
    enum err e = viewer_devices(ctx, &v->viewer, now_s, ids, &n, &j->info);
    return e == ERR_OK ? lookup_devices(v, ctx, ids, n, now_s) : e;
}

static void done_list(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    if (e == ERR_OK)
        lookup_respond(v);
    else
        visit_store_failed(v, e);
}

static void list_devices(struct visit *v)
{
    visit_store(v, run_list, done_list);
}

void visit_list_devices(struct visit *v)
{
    visit_identify_account(v, list_devices);
}

/* --- GET and DELETE /v1/devices/{id} --- */

/* Whether the viewer may see the device of the path. Takes the same steps for a device that is not
 * there, and for a path that names none. */
static enum err find(struct visit *v, struct sql *db, int64_t now_s)
{
    char ids[VIEWER_DEVICES_MAX][DEVID_LEN + 1];
    size_t n = 0;
    enum err e = viewer_devices(db, &v->viewer, now_s, ids, &n, &v->job.info);
    v->found = false;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        v->found = v->found || strcmp(ids[i], v->id) == 0;
    return e;
}

static enum err run_show(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    int64_t now_s = clock_now_s();
    enum err e = find(v, ctx, now_s);
    return e == ERR_OK && v->found ? lookup_devices(v, ctx, &v->id, 1, now_s) : e;
}

static void done_show(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    json_t *device = e == ERR_OK && v->found ? json_array_get(v->devices, 0) : NULL;
    if (e != ERR_OK) {
        visit_store_failed(v, e);
    } else if (device == NULL) {
        visit_refuse(v, NO_DEVICE);
    } else {
        (void)json_object_set_new(device, "network", lookup_network(v));
        visit_respond(v, 200, device);
    }
}

static void show_device(struct visit *v)
{
    visit_store(v, run_show, done_show);
}

void visit_show_device(struct visit *v)
{
    visit_identify(v, show_device);
}

/* Gone already is fine, when that was us. */
static enum err run_leave(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    int64_t n = 0;
    enum err e = viewer_remove(ctx, &v->viewer, v->id, &n, &j->info);
    v->found = n > 0 || j->again;
    return e;
}

static void done_leave(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    if (e != ERR_OK)
        visit_store_failed(v, e);
    else if (!v->found)
        visit_refuse(v, NO_DEVICE);
    else
        visit_respond(v, 204, NULL);
}

static void leave_device(struct visit *v)
{
    visit_store(v, run_leave, done_leave);
}

void visit_leave_device(struct visit *v)
{
    visit_identify(v, leave_device);
}

/* --- POST /v1/devices --- */

/* An account shows devices of the zones that its issuer is for. */
static bool is_of_account(const struct visit *v, const struct device_row *row)
{
    const struct config_zone *z = config_zone_find(v->d->parts.config, row->zone);
    return z != NULL && z->oidc_issuer != NULL &&
           strcmp(z->oidc_issuer, v->zone->oidc_issuer) == 0 &&
           strcmp(z->oidc_audience, v->zone->oidc_audience) == 0;
}

/* An error undoes all of it: the code is used up only by who gets the device. Done before and not
 * answered, it is gone: the client is told so, and finds the device in its list. */
static enum err run_adopt(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    struct device_row row;
    int64_t now_s = clock_now_s();
    v->too_many = false;
    enum err e = pairing_take(ctx, v->code_hash, now_s, &v->pairing, v->id, &j->info);
    if (e != ERR_OK || v->pairing != PAIRING_TAKEN)
        return e;
    e = device_get(ctx, v->id, &row, &j->info);
    if (e == ERR_OK && !is_of_account(v, &row)) {
        v->pairing = PAIRING_WRONG; /* as if there were no such code */
        return err_set(&j->info, ERR_DENIED, "a device of another issuer's zone");
    }
    if (e == ERR_OK)
        e = viewer_add(ctx, &v->viewer, v->id, now_s, &j->info);
    if (e == ERR_OK)
        e = visit_audit(v, ctx, now_s, "adopted", "by an account, for the code");
    v->too_many = e == ERR_LIMIT;
    return e;
}

static void done_adopt(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    if (e == ERR_LIMIT && v->too_many) {
        visit_problem(v, 409, "too-many-devices", "this account has all the devices it can have",
                      0);
    } else if (v->pairing != PAIRING_TAKEN && (e == ERR_OK || e == ERR_DENIED)) {
        visit_refuse_code(v);
    } else if (e != ERR_OK) {
        visit_store_failed(v, e);
    } else {
        metric_add(&v->d->pairings[PAIRING_TAKEN], 1);
        v->answer = json_pack("{s:s}", "device", v->id);
        if (v->answer == NULL)
            visit_problem(v, 503, "unavailable", "out of memory: try again", 10);
        else
            visit_respond(v, 201, v->answer);
    }
}

static void adopt_device(struct visit *v)
{
    if (visit_read_code(v))
        visit_store(v, run_adopt, done_adopt);
}

void visit_adopt_device(struct visit *v)
{
    visit_identify_account(v, adopt_device);
}
