module podseal.dev/test/interop-go

go 1.24
