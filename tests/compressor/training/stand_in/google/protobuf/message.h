#error "a torch wheel's own headers were found before the system's"
