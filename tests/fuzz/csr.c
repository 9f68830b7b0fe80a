/* Any bytes are refused with a problem name of the policy and a sentence, or are a request for
 * exactly the device's names by a key of a kind we accept, and its DER is accepted again. */
#include <stdlib.h>
#include <string.h>

#include "provisiond/core/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct csr_policy POLICY = { .name_required = "*.abc.direct.example",
                                              .name_optional = "abc.direct.example" };
    struct csr_facts facts, again;
    struct err_info info = { "" };
    const char *problem = "";
    enum err e = csr_check(&POLICY, (struct span){ data, size }, &facts, &problem, &info);
    if (e != ERR_OK) {
        if (e != ERR_NOMEM &&
            (problem == NULL || strncmp(problem, "csr-", 4) != 0 || info.text[0] == 0))
            abort();
        return 0;
    }
    if (problem != NULL || facts.der.len == 0 || facts.der.len > CSR_MAX)
        abort();
    if (csr_check(&POLICY, buf_span(&facts.der), &again, &problem, &info) != ERR_OK ||
        memcmp(again.der_sha256, facts.der_sha256, 32) != 0 ||
        memcmp(again.spki_sha256, facts.spki_sha256, SPKI_HASH_LEN) != 0)
        abort();
    buf_clear(&again.der);
    buf_clear(&facts.der);
    return 0;
}
