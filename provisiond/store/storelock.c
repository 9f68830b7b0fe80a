#include "provisiond/store/storelock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "provisiond/store/sql.h"

enum err storelock_take(int *fd, const char *url, struct err_info *info)
{
    static const char SQLITE[] = "sqlite:";
    char path[4096];
    *fd = -1;
    if (strncmp(url, SQLITE, sizeof SQLITE - 1) != 0)
        return ERR_OK;
    int n = snprintf(path, sizeof path, "%s.lock", url + sizeof SQLITE - 1);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(info, ERR_CONFIG, "the path of the store is too long");
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return err_set(info, ERR_CONFIG,
                       "cannot open %s: %s (does the folder exist, and may this user write to it?)",
                       path, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return err_set(
            info, ERR_CONFIG,
            "another lanyard-provisiond runs on this store (%s is locked): stop it first", path);
    }
    *fd = lock;
    return ERR_OK;
}
