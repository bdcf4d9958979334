package tlogweb

import (
	"bufio"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
)

const (
	// maxUpload bounds an upload in bytes, compressed and not. One package of the largest entries has 16 MiB; whoever has
	// more sends the rest next.
	maxUpload = 20 << 20
	// uploadTime is for an upload to arrive; what came until then counts.
	uploadTime = 2 * time.Minute
	// maxAgain is how many entries that are here already an upload may bring.
	maxAgain = 8 * note.PackageEntries
)

// addCheckpoint is tlog-witness's add-checkpoint; with an origin, for that log alone.
func (h *Handler) addCheckpoint(origin string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, note.MaxAddCheckpoint))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			plain(w, http.StatusRequestEntityTooLarge, "the request is too large")
			return
		case err != nil:
			plain(w, http.StatusBadRequest, "the request did not arrive")
			return
		}
		req, c, err := note.ParseAddCheckpoint(body)
		if err != nil {
			h.fail(w, "reading a request to cosign", err)
			return
		}
		if origin != "" && c.Origin != origin || !h.origins[c.Origin] {
			plain(w, http.StatusNotFound, "no such log here")
			return
		}
		line, size, err := h.o.Store.AddOutside(c.Origin, req.Old, req.Proof, req.Note)
		switch {
		case errors.Is(err, ledger.ErrOldSize):
			send(w, http.StatusConflict, note.SizeType, note.EncodeSize(size))
		case err != nil:
			h.fail(w, "cosigning as a witness", err)
		default:
			send(w, http.StatusOK, textType, line)
		}
	}
}

// addEntries is tlog-mirror's add-entries; with an origin, for that log alone.
func (h *Handler) addEntries(origin string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Accept-Encoding", "gzip")
		select {
		case h.uploads <- struct{}{}:
			defer func() { <-h.uploads }()
		default:
			busy(w, http.StatusServiceUnavailable, 5*time.Second, "too many uploads at once")
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(uploadTime)) // unsupported only by test recorders
		_ = rc.SetWriteDeadline(time.Now().Add(uploadTime + replyTime))
		body, ok := uploadBody(w, r)
		if !ok {
			return
		}
		a, err := note.ReadAddEntries(body)
		if err != nil {
			h.fail(w, "reading an upload", err)
			return
		}
		if origin != "" && a.Origin != origin || !h.o.Store.Mirrors(a.Origin) {
			plain(w, http.StatusNotFound, "no such log is mirrored here")
			return
		}
		h.upload(w, a, body)
	}
}

// uploadBody returns the body of an upload, unpacked and bounded.
func uploadBody(w http.ResponseWriter, r *http.Request) (io.Reader, bool) {
	if r.Header.Get("Content-Type") != note.EntriesType {
		plain(w, http.StatusUnsupportedMediaType, "send entries as "+note.EntriesType)
		return nil, false
	}
	var body io.Reader = http.MaxBytesReader(w, r.Body, maxUpload)
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			plain(w, http.StatusBadRequest, "the body is not gzip")
			return nil, false
		}
		body = io.LimitReader(unpacked, maxUpload)
	default:
		plain(w, http.StatusUnsupportedMediaType, "compress entries with gzip or not at all")
		return nil, false
	}
	return bufio.NewReader(body), true
}

// A standing is what an upload to a log may lead to.
type standing struct {
	origin   string
	pending  note.Checkpoint // the largest that the witness key or the mirror key cosigned
	mirrored note.Checkpoint // what the mirror key cosigned last
	next     int64           // first entry that is missing
}

func (h *Handler) standing(origin string) (standing, error) {
	s := standing{origin: origin, next: h.o.Store.Missing(origin)}
	for _, from := range []struct {
		last func(string) ([]byte, error)
		to   *note.Checkpoint
	}{{h.o.Store.Witnessed, &s.pending}, {h.o.Store.Mirrored, &s.mirrored}} {
		data, err := from.last(origin)
		if err != nil {
			return s, err
		}
		if data == nil {
			continue
		}
		if *from.to, err = note.Parse(data); err != nil {
			return s, err
		}
	}
	if s.mirrored.Tree.N > s.pending.Tree.N { // it came from the owner directly
		s.pending = s.mirrored
	}
	return s, nil
}

// target returns the checkpoint that an upload leads to, if its sizes are acceptable.
func (h *Handler) target(s standing, a note.AddEntries) (note.Checkpoint, bool) {
	var c note.Checkpoint
	switch {
	case a.End < s.mirrored.Tree.N:
		return c, false
	case a.End == s.pending.Tree.N:
		c = s.pending
	case a.End == s.mirrored.Tree.N:
		c = s.mirrored
	default:
		c = h.open(a)
	}
	return c, c.Text != "" && a.End == c.Tree.N && a.Start <= s.next && min(a.End, s.next)-a.Start <= maxAgain
}

// upload takes packages as long as they verify, and answers with the mirror's cosignature when all are there.
func (h *Handler) upload(w http.ResponseWriter, a note.AddEntries, body io.Reader) {
	s, err := h.standing(a.Origin)
	if err != nil {
		h.fail(w, "taking an upload", err)
		return
	}
	c, ok := h.target(s, a)
	if !ok {
		if c.Text == "" || s.next > a.End {
			c = s.pending
		}
		h.info(w, http.StatusConflict, c, s.next)
		return
	}
	checkpoint := note.Assemble(c, nil)
	var reply ledger.PushReply
	at := a.Start
	for at < a.End && err == nil {
		p := a.Next(at)
		if err = p.Read(body); err == nil {
			reply, err = h.o.Store.AddPackage(a.Origin, checkpoint, p)
		}
		if err == nil {
			at = p.End
		}
	}
	if a.Start == a.End {
		reply, err = h.o.Store.AddPackage(a.Origin, checkpoint, note.Package{Start: a.End, End: a.End})
	}
	h.uploaded(w, a, c, at, reply, err)
}

// uploaded answers an upload of which the entries before at were taken.
func (h *Handler) uploaded(w http.ResponseWriter, a note.AddEntries, c note.Checkpoint, at int64, reply ledger.PushReply, err error) {
	next := h.o.Store.Missing(a.Origin)
	switch {
	case err == nil && len(reply.Cosignature) > 0:
		send(w, http.StatusOK, textType, reply.Cosignature)
	case errors.Is(err, note.ErrCutOff) && at == a.Start:
		plain(w, http.StatusBadRequest, "no whole package arrived")
	case errors.Is(err, note.ErrCutOff), err == nil && at > a.Start: // a part, or entries of others were in the way and are dropped
		h.info(w, http.StatusAccepted, c, next)
	case errors.Is(err, ledger.ErrStale), errors.Is(err, ledger.ErrGap), err == nil:
		s, serr := h.standing(a.Origin)
		if serr != nil {
			h.fail(w, "taking an upload", serr)
			return
		}
		h.info(w, http.StatusConflict, s.pending, s.next)
	default:
		h.fail(w, "taking an upload", err)
	}
}

// info tells what an upload should lead to and begin at.
func (h *Handler) info(w http.ResponseWriter, status int, c note.Checkpoint, next int64) {
	m := note.MirrorInfo{Size: c.Tree.N, Next: min(next, c.Tree.N)} // of a smaller tree nothing is missing
	if c.Text != "" {
		m.Ticket = h.seal(c)
	}
	send(w, status, note.MirrorInfoType, m.Encode())
}

// A ticket is a checkpoint that was pending once, for an upload that goes on after the next became pending: its MAC, then
// the signed note. Tickets end with the process.
func (h *Handler) seal(c note.Checkpoint) []byte {
	data := note.Assemble(c, nil)
	return append(h.mac(data), data...)
}

func (h *Handler) mac(data []byte) []byte {
	m := hmac.New(sha256.New, h.tickets[:])
	m.Write(data)
	return m.Sum(nil)
}

// open returns the checkpoint in an upload's ticket, or none.
func (h *Handler) open(a note.AddEntries) note.Checkpoint {
	if len(a.Ticket) <= sha256.Size || !hmac.Equal(h.mac(a.Ticket[sha256.Size:]), a.Ticket[:sha256.Size]) {
		return note.Checkpoint{}
	}
	c, err := note.Parse(a.Ticket[sha256.Size:])
	if err != nil || c.Origin != a.Origin {
		return note.Checkpoint{}
	}
	return c
}
