"""`harborguard sensor`: looks at images where they are, and asks a server elsewhere what at; nothing connects to it."""
