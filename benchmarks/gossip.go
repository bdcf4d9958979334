package main

import (
	"context"
	"fmt"
	"time"
)

// What gossip may cost an ordinary member of a thousand.
const (
	aimGossipProcessor = 5   // % of one core
	aimGossipTraffic   = 200 // kB/s, each way
)

// gossip simulates a network of a thousand members with a committee of 22 and adds up what it costs a member.
func (b *bench) gossip(ctx context.Context) error {
	shape := simShape{members: 1000, mirrors: 22, quorum: 15, warm: time.Minute, length: 2 * time.Minute,
		entryEvery: time.Minute, heartbeat: 10 * time.Second, compareEvery: 10 * time.Second}
	if b.quick {
		shape.members, shape.warm, shape.length = 200, 20*time.Second, time.Minute
	}
	f, err := newGossipFixture(shape.members, shape.mirrors)
	if err != nil {
		return err
	}
	costs, sizes, err := b.gossipCosts(ctx, f)
	if err != nil {
		return err
	}
	b.stage("simulating %d members for %s", shape.members, shape.warm+shape.length)
	before, err := processorTime()
	if err != nil {
		return err
	}
	s := newSimulation(shape, f.names, f.config.Digest(), sizes, 1)
	if err := s.run(ctx); err != nil {
		return err
	}
	after, err := processorTime()
	if err != nil {
		return err
	}
	minutes := (shape.warm + shape.length).Minutes()
	costs.core = (after - before) / minutes / float64(shape.members)
	b.reportSpread(s)
	for _, role := range []struct {
		name     string
		from, to int
	}{{"ordinary member", shape.mirrors, shape.members}, {"mirror", 0, shape.mirrors}} {
		b.reportMember(s, costs, role.name, s.nodes[role.from:role.to])
	}
	return nil
}

// reportSpread adds how long heads take.
func (b *bench) reportSpread(s *simulation) {
	who := fmt.Sprintf("%d members, %d mirrors", s.shape.members, s.shape.mirrors)
	b.addHistogram("append to final at the owner, simulated, "+who, "ms", s.steps)
	b.addHistogram("final to held by a member, simulated", "ms", s.spreadTo)
	b.add("gossip", "final to held by everybody, simulated", "ms", len(s.everywhere), []Value{{"p50", quantile(s.everywhere, 0.5)},
		{"p99", quantile(s.everywhere, 0.99)}, {"max", quantile(s.everywhere, 1)}}, "", 0)
	b.addHistogram("hops from the owner", "", s.hops)
	b.one("gossip", "heads told in one announcement", "", float64(s.announced[1])/float64(max(s.announced[0], 1)))
}

// addHistogram adds a figure whose samples are counted by their value.
func (b *bench) addHistogram(name, unit string, counts []uint64) {
	var total uint64
	for _, c := range counts {
		total += c
	}
	at := func(q float64) float64 {
		var seen uint64
		for v, c := range counts {
			if seen += c; c > 0 && float64(seen) >= q*float64(total) {
				return float64(v)
			}
		}
		return 0
	}
	b.add("gossip", name, unit, int(total), []Value{{"p50", at(0.5)}, {"p99", at(0.99)}, {"max", at(1)}}, "", 0)
}

// reportMember adds what one kind of member does and what that costs it, each the mean of all of that kind.
func (b *bench) reportMember(s *simulation, c gossipCosts, who string, nodes []*simNode) {
	var t traffic
	var q callCounts
	for _, n := range nodes {
		extra := n.queries.handshakes * handshaking
		t.messages += n.traffic.messages
		t.sent += n.traffic.sent + extra
		t.received += n.traffic.received + extra
		q.calls += n.queries.calls
		q.heads += n.queries.heads
		q.pushes += n.queries.pushes
		q.beats += n.queries.beats
		q.cosignatures += n.queries.cosignatures
		q.handshakes += n.queries.handshakes
	}
	each := 1 / float64(len(nodes)) / s.shape.length.Minutes() // a node and minute
	b.add("gossip", who+": a minute's messages, sent and received", "", len(nodes), []Value{{"all", t.messages * each},
		{"heads taken", q.heads * each}, {"pushes", q.pushes * each}, {"heartbeats", q.beats * each},
		{"handshakes", q.handshakes * each}}, "", 0)
	sent, received := t.sent*each/60/1000, t.received*each/60/1000
	b.add("gossip", who+": traffic with overhead", "kB/s", len(nodes), []Value{{"sent", sent}, {"received", received},
		{"larger", max(sent, received)}}, "larger", aimGossipTraffic)

	heads := c.head
	if who == "mirror" {
		heads = c.headHeld // the entries came with the push
	}
	const toPercent = 100.0 / 60_000          // of ms a minute
	verifying := min(heads, 16*c.cosignature) // the owner's signature and 15 cosignatures
	parts := []Value{{"verifying heads", q.heads * each * verifying * toPercent},
		{"storing heads", q.heads * each * (heads - verifying) * toPercent}, {"connections", (q.calls*c.call + q.handshakes*c.handshake) * each * toPercent},
		{"spreading", c.core * toPercent}, {"own log", q.cosignatures * each * c.cosignature * toPercent}}
	beats := q.beats * each * c.beat * toPercent
	if who == "mirror" {
		parts = append(parts, Value{"pushes", q.pushes * each * c.push * toPercent}, Value{"heartbeats", beats})
	}
	all := 0.0
	for _, p := range parts {
		all += p.Number
	}
	parts = append([]Value{{"all", all}}, parts...)
	if who == "mirror" { // each heartbeat is a request, too
		rare := 1 - float64(s.shape.heartbeat)/float64(time.Minute)
		parts = append(parts, Value{"all with one a minute", all - rare*(beats+q.beats*each*c.call*toPercent)})
	}
	b.add("gossip", who+": processor time", "% of a core", len(nodes), parts, "all", aimGossipProcessor)
}
