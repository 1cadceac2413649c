"""Types a line into an interactive shell with completion, presses TAB, and prints what the line is then.

  completion.py bash|zsh SETUP LINE...    with several lines, prints one result a line
"""
import os
import pty
import select
import sys
import time

shell, setup, lines = sys.argv[1], sys.argv[2], sys.argv[3:]
RESULT = os.path.abspath("completed")
# Ctrl-X Ctrl-R writes the line to a file, and Ctrl-X Ctrl-U empties it.
if shell == "bash":
    command = ["bash", "--norc", "-i"]
    keys = (f"report() {{ printf '%s\\n' \"$READLINE_LINE\" >{RESULT}.part; mv {RESULT}.part {RESULT}; READLINE_LINE=; READLINE_POINT=0; }}\n"
            "bind 'set completion-query-items 0'; bind 'set page-completions off'\n"
            "bind -x '\"\\C-x\\C-r\": report'\n")
else:
    command = ["zsh", "-f", "-i"]
    keys = (f"report() {{ print -r -- \"$BUFFER\" >{RESULT}.part; mv {RESULT}.part {RESULT}; BUFFER=; }}\n"
            "zle -N report; bindkey -e; bindkey '^X^R' report; LISTMAX=0; setopt no_beep\n")

for name in ("ready", RESULT):
    if os.path.exists(name):
        os.remove(name)
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PS1="", HOME=os.getcwd(), INPUTRC="/dev/null", HISTFILE="")
    os.execvp(command[0], command)


def drain(seconds):
    said = b""
    while select.select([terminal], [], [], seconds)[0]:
        try:
            said += os.read(terminal, 65536)
        except OSError:
            break
    return said


def wait_for(path):
    end = time.monotonic() + 60
    while not os.path.exists(path):
        drain(0.02)
        if time.monotonic() > end:
            sys.exit(f"completion.py: {shell} did not answer")


with open("completion.rc", "w") as file:
    file.write(keys + setup + "\n: >ready\n")
os.write(terminal, b". ./completion.rc\n")
wait_for("ready")
drain(0.1)
for line in lines:
    if os.path.exists(RESULT):
        os.remove(RESULT)
    os.write(terminal, line.encode() + b"\t")
    os.write(terminal, b"\x18\x12")
    wait_for(RESULT)
    with open(RESULT) as file:
        print(file.read().rstrip("\n"))
os.write(terminal, b"exit\n")
drain(0.1)
os.close(terminal)
