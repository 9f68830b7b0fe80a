#include "provisiond/admin/help.h"

#include <string.h>

#include "common/base/attr.h"

static const struct {
    const char *command, *lines;
} TEXTS[] = {
    { "token",
      "  token create [--zone NAME] [--uses N] [--expires 30d] [--label TEXT] [--json]\n"
      "                           make an enrolment token: 1 device and 7 days unless told\n"
      "  token list [--json]      what each token has admitted, never the tokens themselves\n"
      "  token show NUMBER [--json]\n"
      "  token revoke NUMBER|--all\n"
      "                           it admits nobody any more; devices it admitted stay\n"
      "  token release NUMBER|--all\n"
      "                           one that is held since the store was restored\n" },
    { "device", "  device list [--zone NAME] [--state STATE] [--flagged] [--limit N] [--json]\n"
                "                           the newest devices, or of them those\n"
                "  device show ID [--json]  state, order, last trouble, certificates, report\n"
                "  device suspend ID        no certificates until it is resumed\n"
                "  device resume ID\n"
                "  device forget ID         revoke its certificates; its id stays in quarantine "
                "till they end\n"
                "  device release ID        end the quarantine: it may enrol again\n"
                "  device revoke ID [--reason keyCompromise] [--serial HEX]\n"
                "  device unpair ID         no browser sees it any more by a viewer token or an "
                "account\n"
                "  device flag ID [--why TEXT | --clear]\n"
                "                           mark it for attention, or take the mark away\n" },
    { "order", "  order list [--all] [--device ID] [--limit N] [--json]\n"
               "                           the orders that are open, newest first\n"
               "  order show NUMBER [--json]\n"
               "  order retry NUMBER       try a waiting one now\n"
               "  order cancel NUMBER      end it; the device may send another request\n" },
    { "limits",
      "  limits [--json]          what is left of each CA's limits, and what the CA closed\n"
      "  limits reopen ISSUER KIND [--zone NAME | --device ID | --account N]\n"
      "                           one that the CA closed, and has opened again\n"
      "  limits forecast [--days N] [--json]\n"
      "                           renewals of the coming days, and what the limit lets through\n" },
    { "audit", "  audit [--device ID] [--limit N] [--json]\n"
               "                           who did what, newest last\n"
               "  audit --verify [--json]  whether a row was changed or taken out\n" },
    { "issuer",
      "  issuer list [--json]     the issuers and the accounts there that are known here\n"
      "  issuer show NAME [--json]\n"
      "                           what the CA offers and knows of our accounts; changes nothing\n"
      "  issuer register|rollover|deactivate NAME [--account N] [--json]\n"
      "                           make or update the account; change its key; close it for good\n"
      "  issuer revoke NAME --cert FILE [--key FILE] [--reason 0|1|4|5] [--account N]\n"
      "                           by the account, or by the certificate's own key\n"
      "  issuer caa ZONE          CAA records for the zone: only our CAs, only our accounts\n"
      "  issuer persist ZONE      the accounts for dnsd's option persist (dns-persist-01)\n" },
    { "migrate",
      "  migrate                  bring the tables up to date; PostgreSQL: as their owner\n"
      "  migrate --from sqlite:FILE [--challenges sqlite:FILE]\n"
      "                           and copy an SQLite store into the empty PostgreSQL of the\n"
      "                           configuration: everything, or nothing\n" },
    { "doctor",
      "  doctor [--resolver ADDRESS:PORT] [--parent ADDRESS:PORT]... [--json]\n"
      "                           check database, CAs, limits, delegation, CAA, challenges,\n"
      "                           certificates; exit status 1 with warnings, 2 with failures\n" },
};

void help_write(FILE *out, const char *command)
{
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        if (command == NULL || strcmp(TEXTS[i].command, command) == 0)
            (void)fputs(TEXTS[i].lines, out);
    }
}
