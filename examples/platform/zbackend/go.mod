module zbackend

go 1.19
