// Package peer carries requests between gateways over QUIC.
//
// Trust: a connection belongs to a member because the TLS 1.3 handshake proved possession of the transport key that the
// network configuration names for it. Certificates are containers for that key and nothing else: self-signed, valid from
// 1970 to 9999, without names that anybody checks. There is no resumption and no 0-RTT, so every connection is
// authenticated from both ends and no request can be replayed by a third party.
//
// A neighbour counts as up after an application hello: QUIC lets a client finish its handshake before the server has
// refused it, so a nil error from Dial means nothing.
//
// # Whom a node is connected to
//
// There is always a connection to the members that Options.Keep names: gossip's neighbours, and the mirrors, which every owner
// pushes to. One to any other member is dialled when a call needs it, and closed by the dialler when nothing has used it for a
// minute. Every member of the configuration may connect. So an ordinary member of a large instance holds some forty connections,
// and a mirror one for each member, since all push to it.
//
// A member with another configuration of the same instance is let in, as one of the two must be behind: on such a connection
// only those kinds are sent and served that carry the chain of configurations. The same holds for a member that proves a
// transport key of an earlier version: it was away while its key was replaced, and learns here that it was.
//
// # One connection per pair
//
// Both ends may dial. What a neighbour dialled is its `in` link, what we dialled its `out` link, and each exists at most
// once: a second one from the same dialler replaces the first, since a dialler dials only after it lost the first. When
// both exist, the member whose name sorts last retires the link that it dialled itself, after the requests in flight on
// it. Only the dialler retires a link, so crossing dials can never leave a pair with none. The hello carries a random
// incarnation of the process: a neighbour that restarted has another one, and what we hold of the earlier one is closed.
//
//	          dial+hello                  hello from it
//	down ----------------> up(out)   down --------------> up(in)
//	 ^   lost: redial,        |  hello from it   |  dial finished
//	 |   backoff + jitter     v                  v
//	 +-------------------- up(in,out) -- larger name retires its out --> up(one link)
package peer
