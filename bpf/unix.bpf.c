// SPDX-License-Identifier: GPL-2.0
/* Exchanges on unix streams that a module accepts: one begins with the first bytes that are received when none is going
 * on, and ends with the first that are sent; what is sent after that is noted as last_tx_nsec, for who waits until it
 * is quiet. The end of the stream, or an error, cuts it off.
 *
 * An accepted socket has the address of its listener and carries the cgroup of the client that connected: whose work it
 * is is told by who receives. A stream that is closed in the middle of an exchange leaves no trace but the freeing of
 * its storage: bh_streams tells of those that live. */
#include "bpf/threads.bpf.h"

char _license[] SEC("license") = "GPL";

#define FAMILY_UNIX  1
#define MESSAGE_PEEK 2
#define ERROR_RESET  104
#define SHUT_SEND    2 /* of sk_shutdown: nothing can be sent any more */

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct stream_entry);
} streams SEC(".maps");

static __always_inline bool is_unix_stream(struct sock *sk)
{
    return sk->__sk_common.skc_family == FAMILY_UNIX && sk->sk_type == SOCK_STREAM;
}

static __always_inline void stream_end(struct stream_entry *s, struct work_entry *w, bool error)
{
    u64 since = s->since_nsec;
    s->since_nsec = 0;
    if (since > w->epoch && since > w->emptied_nsec)
        work_end(w, &w->unix_streams, s->flags, error, bpf_ktime_get_ns() - since, s->module, 0);
}

SEC("tp_btf/sock_recv_length") int BPF_PROG(bh_unix_recv, struct sock *sk, int ret, int flags)
{
    if (!is_unix_stream(sk) || (flags & MESSAGE_PEEK) || (ret < 0 && ret != -ERROR_RESET))
        return 0;
    u64 module = current_module();
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    if (!w || !(w->track & WORK_TRACK_UNIX))
        return 0;
    struct unix_sock *u = bpf_skc_to_unix_sock(sk);
    if (!u || !u->addr)
        return 0;
    struct stream_entry *s = bpf_sk_storage_get(&streams, sk, 0, ret > 0 ? BPF_SK_STORAGE_GET_F_CREATE : 0);
    if (!s) {
        if (ret > 0)
            not_counted(&w->unix_streams);
        return 0;
    }
    if (ret <= 0) {
        /* Who has only shut down its own side waits for the answer. */
        if (s->since_nsec && s->module == module && (ret < 0 || (sk->sk_shutdown & SHUT_SEND)))
            stream_end(s, w, true);
    } else if (!s->since_nsec) {
        s->module = module;
        s->since_nsec = bpf_ktime_get_ns();
        s->flags = work_begin(w, &w->unix_streams);
    }
    return 0;
}

SEC("tp_btf/sock_send_length") int BPF_PROG(bh_unix_send, struct sock *sk, int ret, int flags)
{
    if (!is_unix_stream(sk) || ret <= 0)
        return 0;
    struct stream_entry *s = bpf_sk_storage_get(&streams, sk, 0, 0);
    if (!s)
        return 0;
    u64 module = s->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    if (!w)
        return 0;
    s->last_tx_nsec = w->stream_tx_nsec = bpf_ktime_get_ns();
    if (s->since_nsec)
        stream_end(s, w, false);
    return 0;
}

/* Writes the module of each stream that is open and has an exchange going on. */
SEC("iter/bpf_sk_storage_map") int bh_streams(struct bpf_iter__bpf_sk_storage_map *ctx)
{
    struct stream_entry *s = ctx->value;
    struct sock *sk = ctx->sk;
    if (!s || !sk || !s->since_nsec || sk->__sk_common.skc_state != TCP_ESTABLISHED)
        return 0;
    u64 module = s->module;
    bpf_seq_write(ctx->meta->seq, &module, sizeof module);
    return 0;
}
