/* What a shard counts. One table: the struct, the names in /metrics and their help come from it. */
#ifndef NM_SHARDS_NODE_METRICS_H
#define NM_SHARDS_NODE_METRICS_H

#include "core/base/histogram.h"

/* field, metric name without prefix, labels, help (given once per name, by the first row of that name) */
#define SHARD_COUNTERS(X)                                                                                              \
    X(turns, "turns_total", "", "Turns of the shard's loop")                                                           \
    X(rx_datagrams, "rx_datagrams_total", "", "Datagrams received")                                                    \
    X(rx_bytes, "rx_bytes_total", "", "Bytes of datagrams received")                                                   \
    X(rx_packets, "rx_packets_total", "", "Session packets authenticated")                                             \
    X(rx_events, "rx_events_total", "", "Events received on subscribed channels")                                      \
    X(tx_datagrams, "tx_datagrams_total", "", "Datagrams sent")                                                        \
    X(tx_bytes, "tx_bytes_total", "", "Bytes of datagrams sent")                                                       \
    X(tx_events, "tx_events_total", "", "Events sent to subscribers, counted once for each")                           \
    X(rx_fragments, "fragments_total", "dir=\"received\"", "Packets with a part of an event larger than a packet")     \
    X(tx_fragments, "fragments_total", "dir=\"sent\"", "")                                                             \
    X(published_events, "published_events_total", "", "Events appended to this node's own channels")                   \
    X(published_bytes, "published_bytes_total", "", "Bytes of those events")                                           \
    X(stream_events_sent, "stream_events_total", "dir=\"sent\"", "Events of the application's streams")                \
    X(stream_events_received, "stream_events_total", "dir=\"received\"", "")                                           \
    X(streams_idle, "streams_idle_total", "", "Fire-and-forget streams forgotten because nothing moved on them")       \
    X(stored_events, "stored_events_total", "", "Received events appended to their logs")                              \
    X(follow_missing, "follow_missing_events_total", "",                                                               \
      "Sequences that the logs we follow do not have: given up by their retention, or never written")                  \
    X(follows_asked_again, "follows_asked_again_total", "",                                                            \
      "Times that a follow was asked for again because nothing came, or no answer")                                    \
    X(relayed, "relayed_datagrams_total", "", "Datagrams forwarded for other nodes")                                   \
    X(passed_on, "passed_on_datagrams_total", "", "Datagrams that arrived on another shard than their session's")      \
    X(handshakes_started, "handshakes_total", "event=\"started\"", "Handshakes by what became of them")                \
    X(handshakes_answered, "handshakes_total", "event=\"answered\"", "")                                               \
    X(sessions_confirmed, "handshakes_total", "event=\"confirmed\"", "")                                               \
    X(handshakes_expired, "handshakes_total", "event=\"expired\"", "")                                                 \
    X(handshakes_superseded, "handshakes_total", "event=\"superseded\"", "")                                           \
    X(peers_lost, "peers_lost_total", "", "Peers that were silent for too long, or never confirmed their session")     \
    X(reloads_applied, "reloads_total", "result=\"applied\"",                                                          \
      "Times that node.yaml was read again, by what came of it")                                                       \
    X(reloads_refused, "reloads_total", "result=\"refused\"", "")                                                      \
    X(compat_sessions, "compat_sessions_total", "", "Sessions without the secure extension (v0.19.0 peers)")           \
    X(grants_sent, "credit_grants_total", "dir=\"sent\"", "Credit grants")                                             \
    X(grants_received, "credit_grants_total", "dir=\"received\"", "")                                                  \
    X(credit_written_off, "credit_written_off_bytes_total", "",                                                        \
      "Bytes in flight assumed lost after a silence of the receiver")                                                  \
    X(acks_sent, "acks_total", "dir=\"sent\"", "Acknowledgements of session packets")                                  \
    X(acks_received, "acks_total", "dir=\"received\"", "")                                                             \
    X(packets_lost, "packets_lost_total", "", "Packets sent that were declared lost")                                  \
    X(packets_spurious, "packets_spurious_total", "", "Of those, the ones that had arrived after all")                 \
    X(packets_retransmitted, "packets_retransmitted_total", "", "Packets of reliable streams that were sent again")    \
    X(probes_sent, "probes_total", "", "Packets sent because no acknowledgement came for too long")                    \
    X(resets_sent, "stream_resets_total", "dir=\"sent\"", "Streams ended before their time")                           \
    X(resets_received, "stream_resets_total", "dir=\"received\"", "")                                                  \
    X(rx_duplicates, "rx_duplicates_total", "", "Packets of reliable streams that had arrived before")                 \
    X(pool_dry, "packet_pool_dry_total", "", "Times a stream waited because limits.unacknowledged was reached")        \
    X(appends_sent, "appends_total", "event=\"sent\"",                                                                 \
      "Acknowledged appends: asked of peers, asked by peers, known from before, refused to peers")                     \
    X(appends_received, "appends_total", "event=\"received\"", "")                                                     \
    X(appends_repeated, "appends_total", "event=\"repeated\"", "")                                                     \
    X(appends_refused, "appends_total", "event=\"refused\"", "")                                                       \
    X(append_answers_late, "appends_total", "event=\"answered_late\"", "")                                             \
    X(publish_refused, "publish_refused_total", "", "Appends that found no room and were tried again")                 \
    X(publish_no_space, "publish_failed_total", "reason=\"no_space\"",                                                 \
      "Batches of events that a publisher was refused, by reason")                                                     \
    X(publish_io, "publish_failed_total", "reason=\"io\"", "")                                                         \
    X(publish_poisoned, "publish_failed_total", "reason=\"poisoned\"", "")                                             \
    X(publish_too_large, "publish_failed_total", "reason=\"too_large\"", "")                                           \
    X(publish_limit, "publish_failed_total", "reason=\"limit\"", "")                                                   \
    X(publish_timeout, "publish_failed_total", "reason=\"timeout\"", "")                                               \
    X(publish_invalid, "publish_failed_total", "reason=\"invalid\"", "")                                               \
    X(publish_closed, "publish_failed_total", "reason=\"closed\"", "")                                                 \
    X(publish_no_memory, "publish_failed_total", "reason=\"no_memory\"", "")                                           \
    X(publish_other, "publish_failed_total", "reason=\"other\"", "")                                                   \
    X(subscribe_channels, "subscribe_refused_total", "reason=\"too_many_channels\"",                                   \
      "Subscriptions that a peer was refused, by reason")                                                              \
    X(subscribe_name, "subscribe_refused_total", "reason=\"hash_taken\"", "")                                          \
    X(subscribe_group, "subscribe_refused_total", "reason=\"queue_group\"", "")                                        \
    X(subscribe_no_memory, "subscribe_refused_total", "reason=\"no_memory\"", "")                                      \
    X(say_suppressed, "log_lines_suppressed_total", "", "Lines for the operator that logging.rate held back")          \
    X(drop_truncated, "drops_total", "reason=\"truncated\"", "What was dropped, by reason")                            \
    X(drop_class, "drops_total", "reason=\"not_a_packet\"", "")                                                        \
    X(drop_header, "drops_total", "reason=\"bad_header\"", "")                                                         \
    X(drop_length, "drops_total", "reason=\"bad_length\"", "")                                                         \
    X(drop_session, "drops_total", "reason=\"unknown_session\"", "")                                                   \
    X(drop_replay, "drops_total", "reason=\"replay\"", "")                                                             \
    X(drop_auth, "drops_total", "reason=\"authentication\"", "")                                                       \
    X(drop_routed_heartbeat, "drops_total", "reason=\"routed_heartbeat\"", "")                                         \
    X(drop_pingwave, "drops_total", "reason=\"pingwave\"", "")                                                         \
    X(drop_keepalive, "drops_total", "reason=\"keepalive\"", "")                                                       \
    X(drop_no_route, "drops_total", "reason=\"no_route\"", "")                                                         \
    X(drop_ttl, "drops_total", "reason=\"ttl\"", "")                                                                   \
    X(drop_relay_busy, "drops_total", "reason=\"relay_busy\"", "")                                                     \
    X(drop_subprotocol, "drops_total", "reason=\"unknown_subprotocol\"", "")                                           \
    X(drop_unsubscribed, "drops_total", "reason=\"not_subscribed\"", "")                                               \
    X(drop_stream_limit, "drops_total", "reason=\"stream_limit\"", "")                                                 \
    X(drop_not_taken, "drops_total", "reason=\"stream_not_taken\"", "")                                                \
    X(drop_ring_full, "drops_total", "reason=\"ring_full\"", "")                                                       \
    X(drop_log_full, "drops_total", "reason=\"log_full\"", "")                                                         \
    X(drop_log_failed, "drops_total", "reason=\"log_failed\"", "")                                                     \
    X(drop_no_log, "drops_total", "reason=\"no_log\"", "")                                                             \
    X(drop_followed, "drops_total", "reason=\"followed_not_stored\"", "")                                              \
    X(drop_frames, "drops_total", "reason=\"bad_frames\"", "")                                                         \
    X(drop_lost, "drops_total", "reason=\"lost_in_network\"", "")                                                      \
    X(drop_lag, "drops_total", "reason=\"subscriber_lag\"", "")                                                        \
    X(drop_oversize, "drops_total", "reason=\"larger_than_peer_takes\"", "")                                           \
    X(drop_incomplete, "drops_total", "reason=\"incomplete_event\"", "")                                               \
    X(drop_event_bytes, "drops_total", "reason=\"event_too_large\"", "")                                               \
    X(drop_reassembly, "drops_total", "reason=\"reassembly_full\"", "")                                                \
    X(drop_fragment, "drops_total", "reason=\"bad_fragment\"", "")                                                     \
    X(drop_fragment_late, "drops_total", "reason=\"fragment_of_dropped_event\"", "")                                   \
    X(drop_send, "drops_total", "reason=\"send_failed\"", "")                                                          \
    X(drop_membership, "drops_total", "reason=\"bad_membership\"", "")                                                 \
    X(drop_follow, "drops_total", "reason=\"bad_follow\"", "")                                                         \
    X(drop_ack, "drops_total", "reason=\"unknown_ack\"", "")                                                           \
    X(drop_control_full, "drops_total", "reason=\"control_queue_full\"", "")                                           \
    X(drop_say, "drops_total", "reason=\"log_line\"", "")                                                              \
    X(drop_credit, "drops_total", "reason=\"bad_credit\"", "")                                                         \
    X(drop_credit_stream, "drops_total", "reason=\"credit_of_no_stream\"", "")                                         \
    X(drop_ack_block, "drops_total", "reason=\"bad_acknowledgement\"", "")                                             \
    X(drop_reset, "drops_total", "reason=\"bad_reset\"", "")                                                           \
    X(drop_append, "drops_total", "reason=\"bad_append\"", "")                                                         \
    X(drop_append_answer, "drops_total", "reason=\"bad_append_answer\"", "")                                           \
    X(drop_pool, "drops_total", "reason=\"packet_pool_full\"", "")                                                     \
    X(drop_window, "drops_total", "reason=\"beyond_window\"", "")                                                      \
    X(drop_stream_closed, "drops_total", "reason=\"stream_over\"", "")                                                 \
    X(drop_stream_mode, "drops_total", "reason=\"stream_mode\"", "")                                                   \
    X(drop_gate, "drops_total", "reason=\"handshake_gate\"", "")                                                       \
    X(drop_handshake, "drops_total", "reason=\"handshake_invalid\"", "")                                               \
    X(drop_handshake_policy, "drops_total", "reason=\"handshake_policy\"", "")                                         \
    X(drop_handshake_replay, "drops_total", "reason=\"handshake_replay\"", "")                                         \
    X(drop_handshake_rate, "drops_total", "reason=\"handshake_rate\"", "")                                             \
    X(drop_handshake_pending, "drops_total", "reason=\"handshakes_pending\"", "")                                      \
    X(drop_peer_limit, "drops_total", "reason=\"peer_limit\"", "")                                                     \
    X(drop_session_id, "drops_total", "reason=\"session_not_taken\"", "")                                              \
    X(drop_stopping, "drops_total", "reason=\"stopping\"", "")                                                         \
    X(drop_no_memory, "drops_total", "reason=\"no_memory\"", "")

/* What holds now; the same columns. A shard sets them once a turn, or when they change. */
#define SHARD_GAUGES(X)                                                                                                \
    X(gauge_peers, "peers", "", "Peers that have or had a session here")                                               \
    X(gauge_sessions, "sessions", "", "Sessions, unconfirmed and previous ones included")                              \
    X(gauge_logs, "logs", "", "Logs open")                                                                             \
    X(gauge_unacknowledged, "unacknowledged_bytes", "",                                                                \
      "Memory of packets that wait for an acknowledgement, for their turn, or for room")                               \
    X(gauge_logs_no_space, "logs_failing", "error=\"no_space\"", "Logs that refuse appends, by reason")                \
    X(gauge_logs_io_error, "logs_failing", "error=\"io\"", "")                                                         \
    X(gauge_logs_poisoned, "logs_failing", "error=\"poisoned\"", "")

/* Durations, weighted by events; the same columns. */
#define SHARD_HISTOGRAMS(X)                                                                                            \
    X(stored_written, "publish_stored_seconds", "kind=\"written\"",                                                    \
      "From the append of events of a channel on disk to their publisher's answer: written to its file, or synced")    \
    X(stored_synced, "publish_stored_seconds", "kind=\"synced\"", "")                                                  \
    X(delivered, "stored_delivered_seconds", "",                                                                       \
      "From the append of an event, by the realtime clock, to the turn that handed it to the socket for a "            \
      "subscriber; events of one send count as its oldest")

struct shard_metrics {
#define X(field, name, labels, help) counter field;
    SHARD_COUNTERS(X)
    SHARD_GAUGES(X)
#undef X
#define X(field, name, labels, help) struct histogram field;
    SHARD_HISTOGRAMS(X)
#undef X
};

struct shard;
/* A batch of events that a publisher is refused, for this net_err. */
void metrics_publish_failed(struct shard *, int err);

#define COUNT(shard, field) counter_add(&(shard)->metrics.field, 1)
#define COUNT_N(shard, field, n) counter_add(&(shard)->metrics.field, (n))

#endif
