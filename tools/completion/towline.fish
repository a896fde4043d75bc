# fish completion of towline(1). Hosts come from the ssh configuration; paths on a host from the host
# itself, only when it is connected already, and never an error.

function __towline_command
	set -l skip 0
	for w in (commandline -opc)[2..-1]
		if test $skip = 1
			set skip 0
			continue
		end
		switch $w
			case -F -i -o -p
				set skip 1
			case '-*'
			case '*'
				echo $w
				return
		end
	end
	return 1
end

function __towline_needs_command
	not __towline_command >/dev/null
end

function __towline_is
	contains -- (__towline_command) $argv
end

# quick and silent, whatever happens
function __towline_ask
	command timeout 2 towline -q $argv 2>/dev/null </dev/null
end

function __towline_hosts
	set -l file ~/.ssh/config
	set -l words (commandline -opc)
	set -l at (contains -i -- -F $words)
	and set file (string replace -r '^~' $HOME -- $words[(math $at + 1)])
	begin
		__towline_ask status --hosts | string replace -r '\t.*' ''
		test -r "$file"
		and command awk 'tolower($1) == "host" { for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i }' $file
	end | command sort -u
end

# HOST:PATH; with an argument hosts end with a colon
function __towline_target
	set -l word (commandline -ct)
	if not string match -q '*:*' -- $word
		for h in (__towline_hosts)
			test -n "$argv[1]"
			and echo $h:
			or echo $h
		end
		return
	end
	set -l host (string split -m1 : -- $word)[1]
	set -l path (string split -m1 : -- $word)[2]
	# this machine is called "local:", with its colon
	set -l name (string replace -r '^local$' local: -- $host)
	contains -- $name\tconnected (__towline_ask status --hosts)
	or return
	set -l dir (string match -r '^.*/' -- $path)
	set -l from $dir
	test -n "$from"
	or set from .
	for e in (__towline_ask --json ls -a "$host:$from" | string match -ra '\{"name":"[^"\\\\]*","type":"[^"]*"')
		set -l name (string replace -r '^\{"name":"([^"]*)".*' '$1' -- $e)
		contains -- $name . ..
		and continue
		string match -q '*"type":"folder*' -- $e
		and set name $name/
		echo $host:$dir$name
	end
end

set -l commands open shell ls cat get put upload download rm exec sessions run-code console gateway tunnel ports forward unforward socks info key hosts server doctor connect status close stop log version help
complete -c towline -f
complete -c towline -s F -r -F -d 'ssh configuration'
complete -c towline -s i -r -F -d 'private key'
complete -c towline -s o -x -d 'option of ssh_config'
complete -c towline -s p -x -d 'port of the SSH server'
complete -c towline -s q -l quiet -d 'no progress line'
complete -c towline -s v -l verbose -d 'say more'
complete -c towline -l json -d 'results and errors as JSON'
complete -c towline -s h -l help -d 'how it is used'
complete -c towline -n __towline_needs_command -l version -d 'versions'
complete -c towline -n __towline_needs_command -a open -d 'open a window on a folder or file of a host'
complete -c towline -n __towline_needs_command -a shell -d 'a terminal on a host, in this terminal'
complete -c towline -n __towline_needs_command -a ls -d 'list a folder of a host'
complete -c towline -n __towline_needs_command -a cat -d 'print files of a host'
complete -c towline -n __towline_needs_command -a get -d 'copy from a host to here'
complete -c towline -n __towline_needs_command -a put -d 'copy from here to a host'
complete -c towline -n __towline_needs_command -a rm -d 'remove files of a host'
complete -c towline -n __towline_needs_command -a upload -d 'copy files and folders to a host'
complete -c towline -n __towline_needs_command -a download -d 'copy files and folders from a host'
complete -c towline -n __towline_needs_command -a exec -d 'run a program or script on a host'
complete -c towline -n __towline_needs_command -a sessions -d 'Python and R sessions of a host'
complete -c towline -n __towline_needs_command -a run-code -d 'run code in a Python or R session'
complete -c towline -n __towline_needs_command -a console -d 'a Python or R console'
complete -c towline -n __towline_needs_command -a gateway -d 'a port for Jupyter clients'
complete -c towline -n __towline_needs_command -a tunnel -d 'carry connections through a host'
complete -c towline -n __towline_needs_command -a ports -d 'what listens on a host, and what is forwarded'
complete -c towline -n __towline_needs_command -a forward -d 'make a port or socket of a host reachable here'
complete -c towline -n __towline_needs_command -a unforward -d 'end forwards'
complete -c towline -n __towline_needs_command -a socks -d 'a SOCKS proxy through a host'
complete -c towline -n __towline_needs_command -a info -d 'address, keys and algorithms of a connection'
complete -c towline -n __towline_needs_command -a key -d 'list, make, add and copy ssh keys'
complete -c towline -n __towline_needs_command -a hosts -d 'the hosts there are; add, remove and show one'
complete -c towline -n __towline_needs_command -a server -d 'the server on a host: status, start, kill, uninstall, log'
complete -c towline -n __towline_needs_command -a doctor -d 'where the way to a host ends, and why'
complete -c towline -n __towline_needs_command -a connect -d 'connect to a host without opening anything'
complete -c towline -n __towline_needs_command -a status -d 'what is connected and what runs there'
complete -c towline -n __towline_needs_command -a close -d 'end the connection to a host'
complete -c towline -n __towline_needs_command -a stop -d 'end the local daemon'
complete -c towline -n __towline_needs_command -a log -d "the daemon's log"
complete -c towline -n __towline_needs_command -a version -d 'versions of command and daemon'
complete -c towline -n __towline_needs_command -a help -d 'help on a command'
complete -c towline -n '__towline_is help' -a "$commands"
complete -c towline -n '__towline_is open' -l no-browser -d 'only print the address'
complete -c towline -n '__towline_is open' -l new-window -d 'a window of its own'
complete -c towline -n '__towline_is shell' -l name -x -d 'name of the terminal'
complete -c towline -n '__towline_is shell' -l detach -d 'only start it'
complete -c towline -n '__towline_is shell' -l attach -x -d 'join one'
complete -c towline -n '__towline_is shell' -l list -d 'terminals of the host'
complete -c towline -n '__towline_is ls' -s l -l long -d 'details'
complete -c towline -n '__towline_is ls' -s a -l all -d 'hidden ones, too'
complete -c towline -n '__towline_is ls' -s 1 -d 'one in a line'
complete -c towline -n '__towline_is get put rm' -s r -l recursive -d 'folders, too'
complete -c towline -n '__towline_is get put' -s t -l times -d 'keep times'
complete -c towline -n '__towline_is rm' -s f -l force -d 'no complaint about missing ones'
complete -c towline -n '__towline_is server' -a 'status start kill uninstall log'
complete -c towline -n '__towline_is server' -a '(__towline_hosts)'
complete -c towline -n '__towline_is server' -s n -l lines -x -d 'how many lines'
complete -c towline -n '__towline_is hosts' -a 'list add remove show forget'
complete -c towline -n '__towline_is hosts' -a '(__towline_hosts)'
complete -c towline -n '__towline_is hosts' -l name -x -d 'name to connect with'
complete -c towline -n '__towline_is hosts' -l dry-run -d 'write nothing'
complete -c towline -n '__towline_is log' -s n -l lines -x -d 'how many lines'
complete -c towline -n '__towline_is log' -s f -l follow -d 'go on with new ones'
complete -c towline -n '__towline_is upload download' -s t -l times -d 'keep modes and times'
complete -c towline -n '__towline_is upload download' -s L -l follow -d 'copy what links point to'
complete -c towline -n '__towline_is upload download' -s n -l no-overwrite -d 'leave what is there'
complete -c towline -n '__towline_is upload download' -l resume -d 'go on where a copy stopped'
complete -c towline -n '__towline_is upload download' -l verify -d 'compare SHA-256'
complete -c towline -n '__towline_is upload download' -F -a '(__towline_hosts)'
complete -c towline -n '__towline_is exec' -s c -x -d 'command line'
complete -c towline -n '__towline_is exec' -s e -x -d 'environment variable'
complete -c towline -n '__towline_is exec' -l script -r -F -d 'file of lines'
complete -c towline -n '__towline_is exec' -l cwd -x -d 'folder there'
complete -c towline -n '__towline_is exec' -s t -l tty -d 'with a terminal'
complete -c towline -n '__towline_is exec' -s n -l no-stdin -d 'without input'
complete -c towline -n '__towline_is exec' -l timeout -x -d 'end it after seconds'
complete -c towline -n '__towline_is exec' -l capture -d 'print at the end'
complete -c towline -n '__towline_is sessions' -l kernels -d 'what could be started'
complete -c towline -n '__towline_is sessions' -l end -x -d 'end one'
complete -c towline -n '__towline_is sessions' -l interrupt -x -d 'interrupt one'
complete -c towline -n '__towline_is sessions' -l restart -x -d 'restart one'
complete -c towline -n '__towline_is run-code' -s c -x -d 'code'
complete -c towline -n '__towline_is run-code' -l kernel -x -d 'session or kernel'
complete -c towline -n '__towline_is run-code' -l keep -d 'the session goes on'
complete -c towline -n '__towline_is run-code' -l name -x -d 'name of the session'
complete -c towline -n '__towline_is run-code' -F -a '(__towline_target)'
complete -c towline -n '__towline_is sessions' -l connection-file -x -d 'file for jupyter console'
complete -c towline -n '__towline_is sessions' -l tcp -d 'with ports'
complete -c towline -n '__towline_is console' -l session -x -d 'join one'
complete -c towline -n '__towline_is console' -l keep -d 'the session goes on'
complete -c towline -n '__towline_is console' -l name -x -d 'name of the session'
complete -c towline -n '__towline_is console' -l images -r -F -d 'folder for pictures'
complete -c towline -n '__towline_is gateway' -l port -x -d 'port of this machine'
complete -c towline -n '__towline_is gateway' -l allow-origin -x -d 'pages that may use it'
complete -c towline -n '__towline_is gateway' -l stop -d 'end it'
complete -c towline -n '__towline_is gateway' -l list -d 'those there are'
complete -c towline -n '__towline_is tunnel' -s R -l reverse -d 'listen on the host'
complete -c towline -n '__towline_is tunnel' -l socks -x -d 'SOCKS 5 proxy'
complete -c towline -n '__towline_is tunnel' -l once -d 'only one connection'
complete -c towline -n '__towline_is ports' -l watch -d 'a line for each change'
complete -c towline -n '__towline_is forward' -s R -l reverse -d 'listen on the host'
complete -c towline -n '__towline_is forward' -l lend-internet -d "this machine's internet for the host"
complete -c towline -n '__towline_is forward' -l label -x -d 'shown beside it'
complete -c towline -n '__towline_is unforward' -l all -d 'every forward of the host'
complete -c towline -n '__towline_is key' -a 'list new add copy'
complete -c towline -n '__towline_is key' -s t -l type -x -a 'ed25519 rsa ecdsa ed25519-sk ecdsa-sk' -d type
complete -c towline -n '__towline_is key' -s C -l comment -x -d comment
complete -c towline -n '__towline_is key' -l no-passphrase -d none
complete -c towline -n '__towline_is connect doctor close status log exec sessions tunnel ports forward unforward socks info key' -a '(__towline_hosts)'
complete -c towline -n '__towline_is open shell ls' -a '(__towline_target)'
complete -c towline -n '__towline_is cat rm get put' -a '(__towline_target path)'
complete -c towline -n '__towline_is get put' -F
