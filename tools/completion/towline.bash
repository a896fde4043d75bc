# bash completion of towline(1). Hosts come from the ssh configuration; paths on a host from the host
# itself, only when it is connected already (nothing is dialled by pressing Tab), and never an error.

# quick and silent, whatever happens
_towline_ask() {
	command timeout 2 towline -q "$@" 2>/dev/null </dev/null
}

_towline_hosts() {
	local file=${_towline_config:-$HOME/.ssh/config}
	{
		_towline_ask ${_towline_config:+-F "$_towline_config"} status --hosts | command cut -f1
		[ -r "$file" ] && command awk 'tolower($1) == "host" {
			for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i }' "$file"
	} 2>/dev/null | command sort -u
}

_towline_is_connected() {
	_towline_ask status --hosts | command grep -qFx "$1"$'\t'connected
}

# words of the form HOST:PATH; $1: the word so far; $2: not empty for a path only
_towline_target() {
	local word=$1 host path dir IFS=$'\n' name list=()
	if [[ $word != *:* ]]; then
		COMPREPLY=($(compgen -S "${2:+:}" -W "$(_towline_hosts)" -- "$word"))
		compopt -o nospace
		return
	fi
	host=${word%%:*} path=${word#*:}
	# this machine is called "local:", with its colon
	if [[ $host == local ]]; then
		_towline_is_connected local: || return
	else
		_towline_is_connected "$host" || return
	fi
	dir=
	[[ $path == */* ]] && dir=${path%/*}/
	while read -r name; do
		[[ $dir$name == "$path"* ]] && list+=("$(printf '%q' "$dir$name")")
	done < <(_towline_ask --json ls -a "$host:${dir:-.}" |
		command grep -o '{"name":"[^"\\]*","type":"[^"]*"' |
		command sed 's/^{"name":"//; s/","type":"folder.*/\//; s/","type":".*//' |
		command grep -v '^\.\.\?/\?$')
	# the part before the colon is a word of its own where : breaks words
	[[ $COMP_WORDBREAKS == *:* ]] || list=("${list[@]/#/$host:}")
	COMPREPLY=("${list[@]}")
	compopt -o nospace
}

_towline() {
	local commands='open shell ls cat get put upload download rm exec sessions run-code console gateway tunnel ports forward unforward socks info key hosts server doctor connect status close stop log version help'
	local cur prev words=() cword i command= _towline_config= whole
	cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	# the word as typed: HOST : PATH are three words for bash where : breaks words
	whole=${COMP_LINE:0:COMP_POINT}
	whole=${whole##*[[:space:]]}
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-F) _towline_config=${COMP_WORDS[++i]/#\~/$HOME} ;;
		-i | -o | -p) ((i++)) ;;
		-*) ;;
		*) [[ -z $command ]] && command=${COMP_WORDS[i]} ;;
		esac
	done
	case $prev in
	-F | -i)
		COMPREPLY=($(compgen -f -- "$cur"))
		compopt -o filenames
		return
		;;
	-o | -p | -n | --attach | --name | --label | --kernel | --end | --interrupt | --restart | --port | --allow-origin | --session | --connection-file) return ;;
	esac
	if [[ $cur == -* ]]; then
		local own=
		case $command in
		open) own='--no-browser --new-window' ;;
		shell) own='--name --detach --attach --list' ;;
		ls) own='-l -a -1 --long --all' ;;
		get | put) own='-r -t --recursive --times' ;;
		rm) own='-r -f --recursive --force' ;;
		upload | download) own='-t -L -n --times --follow --no-overwrite --resume --verify' ;;
		exec) own='-c -e -t -n --script --cwd --tty --no-stdin --timeout --capture' ;;
		sessions) own='--kernels --end --interrupt --restart --connection-file --tcp' ;;
		run-code) own='-c --kernel --keep --name' ;;
		console) own='--session --keep --name --images' ;;
		gateway) own='--port --allow-origin --stop --list' ;;
		tunnel) own='-R --reverse --socks --once' ;;
		ports) own='--watch' ;;
		forward) own='-R --reverse --lend-internet --label' ;;
		unforward) own='--all' ;;
		key) own='-t -C --type --comment --no-passphrase' ;;
		server) own='-n --lines' ;;
		hosts) own='--name --dry-run' ;;
		log) own='-n -f --lines --follow' ;;
		esac
		COMPREPLY=($(compgen -W "$own -F -i -o -p -q -v --json --help --version" -- "$cur"))
		return
	fi
	case $command in
	'') COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	help) COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
	connect | doctor | close | status | log | exec | sessions | gateway | tunnel | ports | forward | unforward | socks | info) COMPREPLY=($(compgen -W "$(_towline_hosts)" -- "$cur")) ;;
	server)
		case $prev in
		server) COMPREPLY=($(compgen -W 'status start kill uninstall log' -- "$cur")) ;;
		*) COMPREPLY=($(compgen -W "$(_towline_hosts)" -- "$cur")) ;;
		esac
		;;
	hosts)
		case $prev in
		hosts) COMPREPLY=($(compgen -W 'list add remove show forget' -- "$cur")) ;;
		add) COMPREPLY=($(compgen -W 'ssh' -- "$cur")) ;;
		*) COMPREPLY=($(compgen -W "$(_towline_hosts)" -- "$cur")) ;;
		esac
		;;
	key)
		case $prev in
		key) COMPREPLY=($(compgen -W 'list new add copy' -- "$cur")) ;;
		copy) COMPREPLY=($(compgen -W "$(_towline_hosts)" -- "$cur")) ;;
		*) COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null ;;
		esac
		;;
	upload | download) COMPREPLY=($(compgen -W "$(_towline_hosts)" -- "$cur") $(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null ;;
	run-code)
		_towline_target "$whole"
		[[ $whole == *:* ]] || COMPREPLY+=($(compgen -f -- "$cur"))
		compopt -o filenames
		;;
	open | shell | ls | console) _towline_target "$whole" ;;
	cat | rm) _towline_target "$whole" path ;;
	get | put)
		if [[ $whole == *:* ]]; then
			_towline_target "$whole" path
		else
			local IFS=$'\n'
			COMPREPLY=($(compgen -f -- "$cur") $(compgen -S : -W "$(_towline_hosts)" -- "$cur"))
			compopt -o filenames -o nospace
		fi
		;;
	esac
}

complete -F _towline towline
