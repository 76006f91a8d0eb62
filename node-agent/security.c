/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/security.h"

#include "node-agent/agent.h"

static int agents_only(const struct isola_identity *who, struct isola_err *err)
{
    if (who->role == ISOLA_ROLE_NODE)
        return 0;
    return isola_fail(err, ISOLA_EPERM,
                      "it is an actor-host of node %s; agents talk to agents here", who->name);
}

static int admit_member(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                        struct isola_slice chain, struct isola_identity *who, struct isola_err *err)
{
    const struct isola__agent *agent = arg;
    (void)link;
    int rc = isola_identity_check(agent->cluster.key, chain, peer, NULL, who, err);
    return rc == 0 ? agents_only(who, err) : rc;
}

static int admit_dialler(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                         struct isola_slice chain, struct isola_identity *who,
                         struct isola_err *err)
{
    const struct isola__agent *agent = arg;
    if (chain.len > 0)
        return admit_member(arg, link, peer, chain, who, err);
    *who = (struct isola_identity){0};
    if (agent->cluster.issuer != NULL)
        return 0;
    return isola_fail(err, ISOLA_EPERM,
                      "it shows no certificate, and this node, %s, has none to give: the cluster's "
                      "key is on another",
                      agent->opt.name);
}

static int admit_issuer(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                        struct isola_slice chain, struct isola_identity *who, struct isola_err *err)
{
    const struct isola__agent *agent = arg;
    (void)link;
    int rc = isola_identity_check(agent->opt.token->cluster_key, chain, peer, NULL, who, err);
    return rc == 0 ? agents_only(who, err) : rc;
}

void isola__security_set(struct isola__agent *agent)
{
    const struct isola__cluster *cluster = &agent->cluster;
    struct isola__security *s = &agent->security;
    s->dialling = (struct isola_link_security){.keys = &cluster->keys->fixed,
                                               .chain = isola_buf_slice(&cluster->chain),
                                               .purpose = ISOLA_LINK_CONTROL,
                                               .admit = admit_member,
                                               .arg = agent};
    s->listening = s->dialling;
    s->listening.admit = admit_dialler;
    s->entering = s->dialling;
    s->entering.chain = (struct isola_slice){0};
    s->entering.admit = admit_issuer;
}
