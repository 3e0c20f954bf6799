package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/userkit/userkit"
)

// nation is where some of the people are from.
type nation struct {
	country, phone string
	first, last    []string
	family         bool // the family name comes first
}

var nations = []nation{
	{"GB", "+44770090", []string{"Olivia", "Harry", "Amelia", "Jack", "Isla", "Siobhán"}, []string{"Smith", "Jones", "O’Connor", "Fitzgerald-Montgomery", "Taylor", "Wright"}, false},
	{"DE", "+4915112", []string{"Jürgen", "Lena", "Björn", "Käthe", "Maximilian", "Zoë"}, []string{"Müller", "Schmidt", "Weiß", "von der Mühlen-Eckart", "Groß", "Köhler"}, false},
	{"FR", "+336123", []string{"Chloé", "Émile", "Léa", "Jean-Baptiste", "Françoise", "Noël"}, []string{"Dubois", "Lefèvre", "d’Arcy", "Garçon", "Moreau", "Béranger"}, false},
	{"PL", "+48512", []string{"Łukasz", "Zofia", "Małgorzata", "Michał", "Agnieszka", "Stanisław"}, []string{"Wiśniewski", "Dąbrowska", "Żółkiewski", "Kowalczyk", "Brzęczyszczykiewicz", "Nowak"}, false},
	{"BY", "+37529", []string{"Аляксандр", "Наталля", "Сяргей", "Вольга", "Дзмітрый", "Алеся"}, []string{"Іваноў", "Казлова", "Васілеўскі", "Шчарбакова", "Пятровіч", "Каралёва"}, false},
	{"UA", "+38067", []string{"Олександр", "Ірина", "Андрій", "Юлія", "Євген", "Ганна"}, []string{"Шевченко", "Ковальчук", "Бондаренко", "Їжак", "Мельник", "Ґава"}, false},
	{"GR", "+3069", []string{"Γιώργος", "Ελένη", "Νίκος", "Άννα", "Δημήτρης", "Ζωή"}, []string{"Παπαδόπουλος", "Αντωνίου", "Νικολάου", "Οικονόμου", "Γεωργίου", "Ιωάννου"}, false},
	{"IL", "+97250", []string{"נועה", "דוד", "יעל", "משה", "תמר", "אריאל"}, []string{"כהן", "לוי", "מזרחי", "פרץ", "ביטון", "אברהם"}, false},
	{"EG", "+2010", []string{"محمد", "فاطمة", "أحمد", "مريم", "عبد الرحمن", "ليلى"}, []string{"السيد", "حسن", "عبد الله", "المصري", "إبراهيم", "النجار"}, false},
	{"IR", "+98912", []string{"سارا", "علی", "زهرا", "رضا", "پریسا", "کیان"}, []string{"محمدی", "حسینی", "کریمی", "رضایی", "جعفری", "موسوی"}, false},
	{"IN", "+9198", []string{"आरव", "प्रिया", "अर्जुन", "दीपिका", "Rohan", "Ananya"}, []string{"शर्मा", "पटेल", "Krishnamurthy", "सिंह", "गुप्ता", "Venkataraman"}, false},
	{"TH", "+6681", []string{"สมชาย", "กมลวรรณ", "ณัฐ", "พิมพ์ชนก", "ธนา", "มาลี"}, []string{"ใจดี", "ศรีสุข", "วงศ์สวัสดิ์", "ทองดี", "แสงจันทร์", "พงษ์ไพบูลย์"}, false},
	{"JP", "+8190", []string{"太郎", "花子", "翔太", "美咲", "健一", "さくら"}, []string{"佐藤", "鈴木", "高橋", "田中", "渡辺", "小林"}, true},
	{"CN", "+86138", []string{"伟", "芳", "秀英", "敏", "静", "强"}, []string{"王", "李", "张", "刘", "陈", "欧阳"}, true},
	{"KR", "+8210", []string{"민준", "서연", "도윤", "지우", "하은", "예준"}, []string{"김", "이", "박", "최", "정", "남궁"}, true},
	{"BR", "+55119", []string{"João", "Conceição", "Antônio", "Letícia", "Luís", "Mônica"}, []string{"Silva", "Gonçalves", "dos Santos", "Araújo", "Magalhães", "Ferreira"}, false},
	{"TR", "+9053", []string{"Işıl", "Çağlar", "Şule", "Ömer", "Gökçe", "İbrahim"}, []string{"Yılmaz", "Öztürk", "Şahin", "Çelik", "Doğan", "Güneş"}, false},
	{"VN", "+8490", []string{"Thị Mai", "Văn Hùng", "Đức", "Phương", "Quỳnh", "Tuấn"}, []string{"Nguyễn", "Trần", "Lê", "Phạm", "Đặng", "Võ"}, true},
}

// homes are where the people of each nation live: latitude, longitude.
var homes = [][2]float64{
	{51.5, -0.12}, {52.52, 13.4}, {48.86, 2.35}, {52.23, 21.01}, {53.9, 27.57}, {50.45, 30.52}, {37.98, 23.73}, {32.08, 34.78}, {30.04, 31.24},
	{35.69, 51.39}, {28.61, 77.21}, {13.76, 100.5}, {35.68, 139.69}, {39.9, 116.4}, {37.57, 126.98}, {-23.55, -46.63}, {41.01, 28.98}, {10.82, 106.63},
}

var (
	latin       = []string{"alder", "birch", "cedar", "dahlia", "elm", "fern", "grove", "hazel", "iris", "juniper", "linden", "maple"}
	nodes       = []struct{ name, place string }{{"fra-1", "Frankfurt"}, {"ams-2", "Amsterdam"}, {"nyc-1", "New York"}, {"sgp-1", "Singapore"}, {"waw-1", "Warszawa"}, {"tyo-3", "東京"}}
	deviceTypes = []userkit.DeviceType{userkit.DeviceAndroid, userkit.DeviceIOS, userkit.DeviceMacOS, userkit.DeviceWindows, userkit.DeviceLinux, userkit.DeviceRouter, userkit.DeviceWeb}
	deviceNames = map[userkit.DeviceType][]string{
		userkit.DeviceAndroid: {"Pixel 9", "Galaxy S25", "Redmi Note"}, userkit.DeviceIOS: {"iPhone", "iPad"},
		userkit.DeviceMacOS: {"MacBook Air", "iMac"}, userkit.DeviceWindows: {"ThinkPad", "Desktop"},
		userkit.DeviceLinux: {"workstation", "home-server"}, userkit.DeviceRouter: {"Router at home"}, userkit.DeviceWeb: {"Browser"},
	}
)

// history makes up what happened before the example began, by a manager whose clock it moves.
type history struct {
	users userkit.Manager
	clock *clock
}

// createUsers creates the people, a month ago, and returns their ids.
func (h history) createUsers(ctx context.Context, people int) ([]userkit.UserID, error) {
	now := time.Now()
	h.clock.set(now.AddDate(0, 0, -30))
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same people each time, on purpose
	records := make([]userkit.UserImport, people)
	ids := make([]userkit.UserID, people)
	for i := range records {
		user := newUser(random, i, now)
		ids[i] = userkit.NewID[userkit.User]()
		user.ID = ids[i]
		records[i] = userkit.UserImport{Key: userkit.ByID(user.ID), Draft: userkit.UserDraft{Create: user}}
	}
	return ids, each(slices.Collect(slices.Chunk(records, userkit.MaxImport)), func(_ int, some []userkit.UserImport) error {
		outcomes, err := h.users.ImportUsers(ctx, userkit.ImportOptions{Mode: userkit.ImportCreate}, some)
		for i, outcome := range outcomes {
			if outcome.Err != nil {
				return fmt.Errorf("%+v: %w", some[i].Draft.Create, outcome.Err)
			}
		}
		return err
	})
}

// tell makes up what users did in the last month.
func (h history) tell(ctx context.Context, ids []userkit.UserID) error {
	now := time.Now()
	h.clock.set(now.AddDate(0, 0, -30))
	if len(ids) == 0 {
		return nil // it was told before
	}
	if err := fillSegments(ctx, h.users, ids); err != nil {
		return err
	}
	// Of each user some things happened, day by day; those of one day side by side.
	lives := ids[:min(len(ids), 300)]
	devices := make([][]userkit.Device, len(lives))
	if err := each(lives, func(i int, id userkit.UserID) error { return fillDevices(ctx, h.users, id, i, &devices[i]) }); err != nil {
		return err
	}
	for day := 10; day >= 1; day-- {
		h.clock.set(now.AddDate(0, 0, -day))
		if err := each(lives, func(i int, id userkit.UserID) error {
			return fillDay(ctx, h.users, id, i, day, devices[i], h.clock.now())
		}); err != nil {
			return err
		}
	}
	// Today some came earlier than others.
	arrivals := []time.Duration{170, 121, 86, 55, 38, 21, 9, 2} // minutes ago
	for group, minutes := range arrivals {
		h.clock.set(now.Add(-minutes * time.Minute))
		err := each(lives, func(i int, id userkit.UserID) error {
			if i/4%len(arrivals) != group {
				return nil
			}
			return fillToday(ctx, h.users, id, i, devices[i])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each does something with all items at the same time. What waits at the same time is committed
// together, so a history takes few commits.
func each[T any](items []T, do func(i int, item T) error) error {
	var workers sync.WaitGroup
	errs := make([]error, len(items))
	for i, item := range items {
		workers.Go(func() { errs[i] = do(i, item) })
	}
	workers.Wait()
	return errors.Join(errs...)
}

// newUser makes up a person.
func newUser(random *rand.Rand, i int, now time.Time) userkit.NewUser {
	from := nations[i%len(nations)]
	name := pick(random, from.first) + " " + pick(random, from.last)
	if from.family {
		name = pick(random, from.last) + " " + pick(random, from.first)
	}
	login := fmt.Sprintf("%s.%s%d", pick(random, latin), pick(random, latin), i)
	status := []userkit.Status{
		userkit.StatusActive, userkit.StatusActive, userkit.StatusActive, userkit.StatusActive, userkit.StatusActive,
		userkit.StatusActive, userkit.StatusActive, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusDisabled,
	}[random.IntN(10)]
	if i < 40 {
		status = userkit.StatusActive
	}
	user := userkit.NewUser{
		Login: login, Name: name, Email: login + "@example.org", EmailVerified: random.IntN(4) > 0,
		ExtRef: fmt.Sprintf("CRM-%05d", i+1), Country: from.country, Status: status,
		License:      []string{"Solo", "Duo", "Family", "Office"}[random.IntN(4)],
		AuthMethod:   []string{"password", "google", "apple", "passkey"}[random.IntN(4)],
		RegisteredAt: now.Add(-time.Duration(float64(400*24*time.Hour) * random.Float64() * random.Float64())).Add(-time.Hour),
		Attributes:   userkit.Attributes{"plan": pick(random, []string{"free", "silver", "gold"}), "newsletter": random.IntN(2) == 0, "seats": int64(1 + random.IntN(20))},
	}
	if i%3 == 0 {
		user.Phone = from.phone + fmt.Sprintf("%06d", random.IntN(1_000_000))
	}
	switch i % 17 {
	case 3:
		user.Kind, user.Description = userkit.UserLegalEntity, "Buys for its whole staff; the invoice goes to the accountant."
		user.Payer = userkit.Payer{AccountNumber: fmt.Sprintf("%09d", 190000000+i), Bank: "Example Bank", BankAccount: fmt.Sprintf("BY00EXMP%020d", i), LegalAddress: "1 Example Street", PostalAddress: "PO box " + fmt.Sprint(i)}
	case 5:
		user.TrafficLimit = userkit.Set(userkit.TrafficLimit{Bytes: 2_000_000_000, Reset: userkit.ResetDaily})
	case 8:
		user.TrafficLimit = userkit.Set(userkit.TrafficLimit{Bytes: 50_000_000_000, Reset: userkit.ResetMonthly, AnchorDay: 15})
	case 11:
		user.ExpiresAt = now.AddDate(0, 0, random.IntN(60)-10)
	case 14:
		user.ValidFor = userkit.Duration(30 * 24 * time.Hour)
	}
	return user
}

func pick(random *rand.Rand, words []string) string { return words[random.IntN(len(words))] }

func fillSegments(ctx context.Context, users userkit.Manager, ids []userkit.UserID) error {
	members := make([][]userkit.SegmentID, min(len(ids), 400))
	for i, name := range []string{"VIP", "Beta testers", "Партнёры", "Support: call back", "לקוחות עסקיים"} {
		segment, err := users.CreateSegment(ctx, userkit.NewSegment{Name: name})
		if err != nil {
			return err
		}
		for at := i; at < len(members); at += 7 + i {
			members[at] = append(members[at], segment.ID)
		}
	}
	if err := each(ids[:len(members)], func(i int, id userkit.UserID) error {
		return users.AddToSegments(ctx, id, members[i]...)
	}); err != nil {
		return err
	}
	for name, rule := range map[string]string{
		"Gold plan": `attributes.plan eq "gold"`, "In Asia": `country eq "JP" or country eq "KR" or country eq "TH" or country eq "VN" or country eq "CN"`,
		"Paying customers": `subscribed eq true`,
	} {
		filter, err := userkit.ParseFilter(rule)
		if err != nil {
			return err
		}
		if _, err := users.CreateSegment(ctx, userkit.NewSegment{Name: name, Rule: filter}); err != nil {
			return err
		}
	}
	return nil
}

// refused reports whether an error is the refusal of a rule, which is part of a history: a disabled
// user gets no device.
func refused(err error) bool { return errors.Is(err, userkit.ErrRefused) }

func fillDevices(ctx context.Context, users userkit.Manager, id userkit.UserID, i int, into *[]userkit.Device) error {
	for n := range 1 + i%3 {
		kind := deviceTypes[(i+n*3)%len(deviceTypes)]
		names := deviceNames[kind]
		device, err := users.RegisterDevice(ctx, id, userkit.NewDevice{
			Name: names[i%len(names)], Type: kind, HardwareID: fmt.Sprintf("hw-%06x-%d", i*7919, n), PushToken: pushToken(i, n),
			LocationConsent: n == 0 && i%4 < 2,
		})
		if refused(err) {
			break
		}
		if err != nil {
			return err
		}
		*into = append(*into, device)
	}
	return nil
}

// pushToken returns the token by which the example's push service knows a device. The application is
// gone from one device in forty, and one in thirty has no token.
func pushToken(i, n int) string {
	switch {
	case (i+n)%40 == 1:
		return fmt.Sprintf("uninstalled-%d-%d", i, n)
	case (i+n)%30 == 2:
		return ""
	}
	return fmt.Sprintf("example-%d-%d", i, n)
}

func fillMessages(ctx context.Context, users userkit.Manager, id userkit.UserID, i int) error {
	if i%3 == 2 {
		if _, err := users.SendMessage(ctx, id, userkit.NewMessage{
			Subject: "Maintenance on Sunday", Body: "The servers in Frankfurt rest from **02:00** to *04:00*.\n\nUse Helsinki meanwhile.",
			Format: userkit.MessageMarkdown, Data: map[string]string{"page": "status"}, Key: "maintenance",
		}); err != nil {
			return err
		}
	}
	if i%10 != 6 {
		return nil
	}
	sent, err := users.SendMessage(ctx, id, userkit.NewMessage{Subject: "Welcome", Body: "Your first month has begun.", Key: "welcome"})
	if err == nil && i%20 == 16 {
		_, err = users.MarkRead(ctx, id, sent.ID)
	}
	return err
}

func fillDay(ctx context.Context, users userkit.Manager, id userkit.UserID, i, day int, devices []userkit.Device, now time.Time) error {
	if (i+day)%5 == 0 {
		if _, err := users.Refill(ctx, id, userkit.Entry{Amount: userkit.Money{Amount: int64(500 + 250*(i%9)), Currency: "EUR"}, Key: fmt.Sprintf("refill-%d", day), Note: "By card", Reference: fmt.Sprintf("PAY-%d-%d", i, day)}); err != nil {
			return err
		}
	}
	if (i+day)%7 == 0 {
		_, err := users.Charge(ctx, id, userkit.Entry{Amount: userkit.Money{Amount: 499, Currency: "EUR"}, Key: fmt.Sprintf("tariff-%d", day), Note: "Tariff of the month"})
		if err != nil && !refused(err) {
			return err
		}
	}
	if len(devices) == 0 || (i+day)%2 == 0 {
		return nil
	}
	at := nodes[(i+day)%len(nodes)]
	session, err := users.StartSession(ctx, userkit.NewSession{
		UserID: id, DeviceID: devices[day%len(devices)].ID, Node: at.name, NodeLocation: at.place,
		InternalIP: netip.AddrFrom4([4]byte{10, 8, byte(i), byte(day)}),
	})
	if refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	bytes := int64(1+(i*day)%37) * 41_234_567
	_, err = users.EndSession(ctx, session.ID, userkit.UsageReport{UserID: id, Received: bytes, Sent: bytes / 6, At: now})
	return err
}

func fillToday(ctx context.Context, users userkit.Manager, id userkit.UserID, i int, devices []userkit.Device) error {
	if _, err := users.RecordLogin(ctx, id, ""); err != nil && !refused(err) {
		return err
	}
	if err := fillMessages(ctx, users, id, i); err != nil {
		return err
	}
	if i%4 == 0 {
		token := fmt.Sprintf("order-%06d", i)
		if i%60 == 0 {
			token = "waits-" + token
		}
		_, err := users.SubmitPurchase(ctx, id, userkit.Receipt{Store: "example_shop", Token: token, ProductID: []string{"vpn.month", "vpn.year"}[i/4%2]})
		if err != nil && !refused(err) {
			return err
		}
	}
	if i%2 == 0 {
		if _, err := users.RecordEvent(ctx, id, userkit.NewEvent{Name: "app.opened", Data: map[string]any{"version": "4." + fmt.Sprint(i%9), "screen": "home"}}); err != nil {
			return err
		}
	}
	if len(devices) > 0 && !devices[0].LocationConsentAt.IsZero() {
		home := homes[i%len(homes)]
		place := userkit.Location{Latitude: home[0] + float64(i*37%100-50)/60, Longitude: home[1] + float64(i*61%100-50)/50, Accuracy: float64(5 + i*13%3000)}
		if _, err := users.ReportLocation(ctx, devices[0].ID, place); err != nil {
			return err
		}
	}
	if i%4 != 0 || len(devices) == 0 {
		return nil
	}
	at := nodes[i/4%len(nodes)]
	_, err := users.StartSession(ctx, userkit.NewSession{
		UserID: id, DeviceID: devices[0].ID, Node: at.name, NodeLocation: at.place,
		InternalIP: netip.MustParseAddr(fmt.Sprintf("fd00::%x", i+1)),
	})
	if refused(err) {
		return nil
	}
	return err
}

// node is a server that reports every few seconds what the open sessions have used.
type node struct {
	users    userkit.Manager
	counters map[userkit.SessionID]int64
}

func (n node) run(ctx context.Context) {
	ticker := time.NewTicker(3 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.report(ctx)
		}
	}
}

// report reports once what the open sessions have used.
func (n node) report(ctx context.Context) {
	ctx = userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorNode, ID: strings.ToLower(nodes[0].name)})
	open := userkit.SessionQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit}}
	open.State = userkit.SessionsActive
	page, err := n.users.Sessions(ctx, open)
	if err != nil {
		return // what fails now is in the next report, which is cumulative
	}
	var reports []userkit.UsageReport
	for i, session := range page.Items {
		if n.counters[session.ID] == 0 {
			n.counters[session.ID] = session.Received + int64(i%13)*61_234_567 // of its first forty minutes
		}
		n.counters[session.ID] += int64(i%11+1) * 123_457
		reports = append(reports, userkit.UsageReport{SessionID: session.ID, UserID: session.UserID, Received: n.counters[session.ID], Sent: n.counters[session.ID] / 7})
	}
	_, _ = n.users.ReportUsage(ctx, reports)
}
