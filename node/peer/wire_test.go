package peer

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{byte(KindQuery), 0, 0, 0, 1, 'x'})
	f.Add([]byte{byte(KindQuery), 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{9, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, body, err := readRequest(bytes.NewReader(data), func(k Kind, _ uint32) (int, bool) { return 1000, k == KindQuery })
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeRequest(&again, kind, body); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%x read as %d %x", data, kind, body)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 'x'})
	f.Add([]byte{1, 4, 'b', 'u', 's', 'y', 0, 0, 0, 2, 'n', 'o'})
	f.Add([]byte{1, 200})
	f.Fuzz(func(t *testing.T, data []byte) {
		body, err := readReply(bytes.NewReader(data), 1000)
		var refusal *RemoteError
		if errors.As(err, &refusal) && (!validCode(refusal.Code) || len(refusal.Message) > 3*maxMessage) {
			t.Errorf("refusal %+v", refusal)
		}
		if err == nil && len(body) > 1000 {
			t.Errorf("%d bytes", len(body))
		}
	})
}

func FuzzParseHello(f *testing.F) {
	f.Add([]byte(`{"instance":"i","configuration":"c","member":"m","incarnation":"00"}`))
	f.Add([]byte(`{"instance":"i","instance":"j"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := parseHello(data, 4096); err == nil && h.Incarnation == "" {
			t.Error("hello without incarnation")
		}
	})
}
