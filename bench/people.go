package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// The audience measurements look at people: users with names in several scripts,
// whose order by login, name or email has nothing to do with the order in which
// they came. A person follows from its number, so every run has the same people.

// tongue is how the people of one script are called.
type tongue struct {
	country string
	given   []string
	family  []string
	latin   []string // the given names as logins have them
}

// tongues are those that people have; no name contains rareTerm.
var tongues = []tongue{
	{"DE",
		[]string{"Anna", "Jürgen", "Simona", "Karl", "Mona", "Jörg", "Sabine", "Uwe"},
		[]string{"Müller", "Schmidt", "Weiß", "Kästner", "Naro", "Jansen", "Köhler", "Bergmann", "Vogt", "Zander"},
		[]string{"anna", "juergen", "simona", "karl", "mona", "joerg", "sabine", "uwe"}},
	{"FR",
		[]string{"Zoë", "François", "Hélène", "René", "Margaux", "Noé", "Ramona", "Luc"},
		[]string{"Lefèvre", "Dubois", "Narcisse", "Côté", "Moreau", "Garnier", "Benoît", "Leroux"},
		[]string{"zoe", "francois", "helene", "rene", "margaux", "noe", "ramona", "luc"}},
	{"GB",
		[]string{"Emily", "Oliver", "Fiona", "George", "Winona", "Harry", "Alice", "Donald"},
		[]string{"Smith", "Jones", "O'Brien", "Taylor", "Walker", "Nares", "Wright", "Green", "Hughes", "Baker"},
		[]string{"emily", "oliver", "fiona", "george", "winona", "harry", "alice", "donald"}},
	{"BY",
		[]string{"Мария", "Алесь", "Надежда", "Пётр", "Ольга", "Янка", "Юлия", "Сергей"},
		[]string{"Ковалёв", "Новик", "Жданович", "Шевчук", "Лукашик", "Гончар", "Мороз", "Соловей"},
		[]string{"maria", "ales", "nadezhda", "piotr", "olga", "janka", "julia", "sergei"}},
	{"GR",
		[]string{"Ελένη", "Γιώργος", "Μαρία", "Νίκος"},
		[]string{"Παπαδόπουλος", "Οικονόμου", "Γεωργίου", "Αλεξίου"},
		[]string{"eleni", "giorgos", "maria", "nikos"}},
	{"AM",
		[]string{"Նարինե", "Արամ", "Անի", "Տիգրան"},
		[]string{"Սարգսյան", "Պետրոսյան", "Գրիգորյան", "Հակոբյան"},
		[]string{"narine", "aram", "ani", "tigran"}},
	{"IN",
		[]string{"अनिता", "राहुल", "प्रिया", "विजय"},
		[]string{"शर्मा", "वर्मा", "गुप्ता", "सिंह"},
		[]string{"anita", "rahul", "priya", "vijay"}},
	{"JP",
		[]string{"さくら", "健太", "結衣", "ハルト"},
		[]string{"佐藤", "鈴木", "高橋", "田中"},
		[]string{"sakura", "kenta", "yui", "haruto"}},
	{"EG",
		[]string{"فاطمة", "محمد", "ليلى", "يوسف"},
		[]string{"حسن", "إبراهيم", "السيد", "منصور"},
		[]string{"fatima", "mohamed", "layla", "youssef"}},
}

// spoken says which tongue people have; the more often it stands here, the more.
var spoken = [...]int{0, 1, 2, 3, 0, 3, 1, 2, 0, 4, 3, 2, 5, 1, 6, 2, 3, 7, 0, 8}

// rareTerm is a part of the names of rarePeople people, however many there are.
const (
	rareTerm   = "vapi"
	rareFamily = "Kvapil"
	rarePeople = 100
)

// firstRegistered is when the first person came; the others followed every
// registeredEvery, the ten-millionth years ago as well.
var firstRegistered = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const registeredEvery = 15 * time.Second

// domains are those of email addresses.
var domains = [...]string{"example.com", "mail.example.org", "example.net", "post.example.eu"}

// person returns one of so many people.
func person(number, people int) userkit.NewUser {
	// A number is shuffled by the multiplier of Knuth, which is odd and so keeps
	// all numbers apart.
	shuffled := uint32(number) * 2654435761
	choose := func(among, shift int) int { return int(shuffled>>shift) % among }

	tongue := tongues[spoken[choose(len(spoken), 3)]]
	given := choose(len(tongue.given), 9)
	family := tongue.family[choose(len(tongue.family), 13)]
	if number%max(people/rarePeople, 1) == 0 {
		family = rareFamily
	}
	login := fmt.Sprintf("%s.%07x", tongue.latin[given], shuffled)
	made := userkit.NewUser{
		ID: userID(number), Login: login, Name: tongue.given[given] + " " + family,
		Email: login + "@" + domains[choose(len(domains), 5)], Status: userkit.StatusActive,
		Country: tongue.country, Currency: currency, RegisteredAt: firstRegistered.Add(time.Duration(number) * registeredEvery),
	}
	switch choose(10, 7) {
	case 0:
		made.Status = userkit.StatusDisabled
	case 1:
		made.Status = userkit.StatusInvited
	}
	if choose(3, 11) > 0 {
		made.Phone = "+37529" + strconv.Itoa(1_000_000+number)
	}
	if choose(4, 17) == 0 {
		made.Attributes = userkit.Attributes{"plan": [...]any{"free", "silver", "gold"}[choose(3, 20)], "seats": int64(choose(20, 5))}
	}
	return made
}

// writePeople writes people as CSV.
func writePeople(to io.Writer, people int) error {
	rows := csv.NewWriter(to)
	err := rows.Write([]string{"id", "login", "name", "email", "phone", "status", "country", "currency", "registered_at", "attributes"})
	for number := range people {
		made := person(number, people)
		attributes := []byte{}
		if made.Attributes != nil {
			var fault error
			attributes, fault = json.Marshal(made.Attributes)
			err = errors.Join(err, fault)
		}
		err = errors.Join(err, rows.Write([]string{
			made.ID.String(), made.Login, made.Name, made.Email, made.Phone, string(made.Status), made.Country, made.Currency,
			made.RegisteredAt.Format(time.RFC3339), string(attributes),
		}))
		if err != nil {
			return err
		}
	}
	rows.Flush()
	return rows.Error()
}

// shortNumber writes a number of users in the name of a measurement, such as 10k.
func shortNumber(number int) string {
	text := strconv.Itoa(number)
	text, millions := strings.CutSuffix(text, "000000")
	if millions {
		return text + "m"
	}
	text, thousands := strings.CutSuffix(text, "000")
	if thousands {
		return text + "k"
	}
	return text
}
