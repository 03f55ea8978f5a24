"""Words that tell what kind of task a prompt is, by kind, in several languages.

A learned head with a few thousand prompts can't know that `pinia` and `numpy` speak for the same thing; this list does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

_KINDS: Final = {
    "programming language": """
        python java javascript typescript rust golang kotlin swift php ruby perl bash powershell matlab
        verilog vhdl solidity lua haskell scala elixir erlang clojure julia fortran cobol vba html css
        assembly cuda opencl dart groovy ocaml zig sql sqlite mysql postgres postgresql mongodb cypher latex
        sass graphql""",
    "library": """
        react vue angular svelte pinia redux flask django fastapi express spring hibernate laravel rails
        numpy pandas pytorch torch tensorflow keras sklearn scikit matplotlib selenium beautifulsoup
        playwright unity unreal godot pygame opencv ffmpeg jquery node npm nodejs bootstrap tailwind flutter
        android ios xcode arduino raspberry esp32 stm32 blender excel vlookup dax powerbi wpf winforms
        dotnet net asp electron vite webpack pytest junit jest kafka spark hadoop airflow redis
        elasticsearch rabbitmq celery sqlalchemy prisma openai langchain huggingface transformers llama
        roblox minecraft telegram discord""",
    "operations": """
        docker kubernetes k8s terraform ansible nginx apache linux ubuntu debian windows server servers ssh
        aws azure gcp cloud vpn dns tls ssl certificate firewall port tcp udp http https websocket proxy
        deploy deployment pipeline container containers cluster node pod cpu gpu ram kernel driver router
        subnet vpc lambda s3 bucket cron systemd git github gitlab commit branch merge rebase jenkins ci
        logs latency throughput cache caching replica sharding backup monitoring""",
    "programming": """
        code coding codes function functions class classes script scripts program programs programming
        programmer compile compiler compiles algorithm algorithms array arrays string strings loop loops
        pointer pointers thread threads exception exceptions bug bugs error errors debug debugging refactor
        refactoring implement implementation implementing method methods variable variables library
        libraries module package import async await api endpoint endpoints backend frontend database
        databases query queries regex parser parse runtime stack heap recursion recursive iterate iterator
        interface object objects struct enum template constructor inheritance boolean integer float null
        undefined callback promise component hook state props render website webpage webapp app application
        plugin extension framework dependency dependencies syntax snippet output input stdin stdout return
        returns parameter parameters argument arguments complexity hash hashmap tree binary graph node nodes
        queue linked sort sorting search test tests unit mock bot scrape scraper crawler button click css
        div json csv file files folder directory path macro formula spreadsheet cell cells vertex mesh
        shader plot simulation simulate код кода функция функцию функции программа программу программы
        скрипт ошибка ошибку класс массив programm funktion funktionen skript fehler fehlermeldung klasse
        schleife datenbank quellcode programme fonction algorithme tableau erreur boucle classe logiciel
        développe programa función código arreglo bucle clase algoritmo programma funzione codice errore""",
    "mathematics": """
        integral integrals derivative derivatives differentiate integrate equation equations polynomial
        matrix matrices vector vectors eigenvalue eigenvalues determinant theorem lemma proof prove proves
        proving show shows converge converges convergence diverge limit limits series sequence sequences
        function continuous differentiable group ring field prime primes integer integers modulo divisible
        divisor remainder factor factors triangle circle angle angles radius perimeter area volume
        hypotenuse rectangle square cube parabola slope intercept tangent sine cosine sin cos tan log ln exp
        sqrt root roots quadratic cubic linear algebra calculus geometry arithmetic probability random
        variance deviation distribution normal gaussian poisson binomial expected expectation mean median
        regression hypothesis estimator bayesian markov stochastic permutation permutations combination
        combinations combinatorics inequality inequalities maximum minimum maximize minimize optimal optimum
        solution solutions solve solves simplify evaluate compute calculate calculation derive fraction
        percent percentage ratio digit digits sum product difference quotient odd even axis coordinates
        plane sphere dice coin balls urn докажите найдите решите решить уравнение уравнения функции
        вычислить вычислите интеграл вероятность треугольник производная beweise beweisen berechne berechnen
        gleichung ableitung wahrscheinlichkeit dreieck funktion bestimme démontrer démontrez calcule
        calculer calculez équation dérivée probabilité résoudre résous demuestra demostrar calcula calcular
        ecuación derivada probabilidad triángulo resuelve resolver dimostra calcola calcolare equazione
        derivata probabilità triangolo risolvi resolva equação tính""",
    "quantities": """
        each every per total twice half double triple more less fewer than times remaining left altogether
        average many much cost costs price sold bought sells buys spend spends earns hours hour minutes
        minute days weeks miles km kg meters metres cm mm feet inches liters litres gallons grams pounds
        dollars cents euros speed distance faster slower older younger years age long takes rate interest
        salary discount profit""",
    "physics and chemistry": """
        velocity acceleration force forces mass masses friction gravity gravitational momentum energy
        kinetic potential voltage current resistor resistance capacitor inductor circuit circuits ohm volts
        watts magnetic electric charge electron electrons proton photon wavelength frequency wave waves
        pressure temperature heat thermodynamic thermodynamics entropy enthalpy quantum relativity nuclear
        atom atoms molecule molecules molar mol moles concentration solution acid base ph reaction reactions
        equilibrium catalyst oxidation enzyme protein dna rna gene genes satellite orbit orbital planet lens
        mirror torque pulley spring projectile pendulum density viscosity turbulence plasma semiconductor
        transistor amplifier signal filter fourier laplace""",
    "reasoning": """
        riddle puzzle logic logical logically paradox deduce infer inference conclude conclusion premise
        premises argument fallacy statement statements follows therefore brother brothers sister sisters
        liar knights knave tallest shortest facing north south east west strategy optimal scenario reasoning
        reason explain justify steps critique critically analyze analyse analysis evaluate assess assessment
        tradeoffs""",
    "systems": """
        architecture architect design distributed scalable scalability consistency availability partition
        microservice microservices tenant concurrency concurrent deadlock race mutex lock locks transaction
        transactions schema index indexes sharding replication failover consensus raft paxos protocol
        encryption encrypt decrypt authentication authorization oauth jwt token tokens security
        vulnerability exploit malware""",
    "machine learning": """
        neural network networks training train trained model models dataset loss gradient epoch epochs batch
        classifier embedding embeddings transformer attention fine tune tuning finetune overfitting gan cnn
        rnn lstm diffusion reinforcement supervised unsupervised clustering kmeans""",
    "law": """
        contract contracts clause clauses liability liable legal law laws lawsuit statute statutory court
        courts plaintiff defendant tenant landlord lease jurisdiction enforceable gdpr compliance regulation
        regulatory copyright trademark patent tort negligence shareholder shareholders vertrag haftung
        gesetz paragraf juridique contrat jurisprudence""",
    "medicine": """
        patient patients diagnosis differential symptoms symptom treatment therapy dose dosage mg clinical
        disease syndrome chronic acute cancer tumor tumour infection renal cardiac hepatic blood pressure
        mri ct biopsy medication drug drugs contraindication prognosis anticoagulant fibrillation lactate""",
    "finance": """
        valuation discounted cashflow wacc npv irr ebitda equity bond bonds yield yields portfolio hedge
        option options derivatives balance sheet revenue margin margins depreciation amortization tax taxes
        taxation dividend inflation gdp fiscal monetary forecast budget investors startup pricing liquidity
        leverage duration convexity""",
    "creative": """
        story stories poem poems poetry haiku sonnet limerick lyrics song songs verse chorus novel chapter
        chapters plot scene scenes screenplay dialogue character characters protagonist villain hero fantasy
        fairytale fairy tale dragon wizard vampire ghost ghosts magic fiction fictional fanfic fanfiction
        anime manga episode crossover backstory worldbuilding rhyme rhymes joke jokes funny humorous comedy
        comedic satire parody monologue narrative narrator horror romance romantic thriller mystery
        adventure quest dnd campaign tavern rap ballad prose vivid melancholic whimsical slogan tagline
        punchline punchlines sketch koan alternate universe рассказ историю история стих стихи стихотворение
        сказку сказка песню песня диалог персонаж фанфик сцену geschichte gedicht märchen lied erzähle szene
        figur histoire poème conte chanson raconte personnage récit cuento historia poema poesía canción
        personaje relato guion storia poesia racconto canzone favola história conto música truyện thơ chuyện
        kịch şiir hikaye hikâye verhaal bajka wiersz opowiadanie""",
    "roleplay": """
        roleplay pretend imagine act persona embody role picture character stay ooc tavern innkeeper pirate
        you're narrate""",
    "writing": """
        write writing email mail letter essay essays article blog post posts paragraph paragraphs speech
        presentation report review newsletter caption captions description bio biography resume cv cover
        toast invitation announcement press release ad advertisement advert flyer memo script video youtube
        linkedin instagram tweet persuasive formal informal tone style audience draft compose rewrite
        rephrase paraphrase improve polish edit feedback schreibe schreib verfasse brief aufsatz rede écris
        écrire rédige rédiger lettre escribe escribir redacta carta correo ensayo scrivi lettera escreva
        напиши написать письмо сочинение viết napisz schrijf""",
    "explaining": """
        explain explains explanation describe discuss overview outline why how difference differences
        between compare comparison contrast summary summarize summarise main causes cause effects effect
        impact influence role meaning history benefits advantages disadvantages pros cons examples example
        important importance works concept introduction basics erkläre erklären warum unterschied explique
        expliquer pourquoi différence explica explicar qué diferencia spiega perché расскажи объясни почему""",
    "advice": """
        tips tip advice advise recommend recommendations suggest suggestions suggestion ideas idea best ways
        way should help improve avoid start learn plan planning schedule routine itinerary trip travel visit
        gift gifts brainstorm names motivate motivation habits goals interview career job boss friend
        friends relationship consejos conseils ratschläge idee idées""",
    "everyday": """
        cook cooking recipe dinner breakfast lunch meal food bread cake coffee garden plants tomatoes cat
        dog pets kids children baby toddler family mother father wedding birthday party holiday weekend home
        house flat room kitchen sofa car bike sleep weather summer winter music film movie book books game
        sport football running workout yoga hair skin clothes shoes""",
    "society": """
        history war wars empire revolution century ancient medieval king queen religion philosophy
        philosopher ethics democracy politics political culture society education school teacher students
        student art painting literature author women rights climate environment""",
    "label verbs": """
        classify categorize categorise predict identify detect determine decide label tag choose select
        assign pick judge rate tell indicate whether if given check recognise recognize klassifiziere ordne
        bestimme clasifica classe classifie classifica определи""",
    "labels": """
        sentiment positive negative neutral mixed category categories class label labels topic topics spam
        ham toxic offensive hate sarcastic ironic intent intents emotion polarity stance entailment
        contradiction true false yes no correct incorrect supported refuted satisfied unsatisfied good bad
        up down higher lower fact opinion relevant irrelevant urgent priority ethical unethical passive
        aggressive grammatical paraphrase equivalent same positiv negativ positif négatif positivo negativo""",
    "labelled text": """
        review reviews tweet tweets headline headlines sentence sentences text texts comment comments
        message messages article passage document news dialogue utterance premise claim ticket feedback
        thread snippet following below reviewer customer user""",
    "look-up": """
        who whose when where capital president author invented discovered born died founded tallest largest
        smallest longest highest oldest population currency language continent country planet symbol
        abbreviation stand synonym antonym opposite plural define definition spell name wer wann wo wie
        hauptstadt qui quand où quelle capitale quién cuándo dónde cuál cuántos chi quando dove quem qual
        кто когда где столица сколько""",
    "support": """
        order orders ordered refund refunds return returns parcel package delivery delivered shipping
        shipment tracking invoice invoices receipt account login log password username subscription
        subscribe cancel cancelled cancellation voucher coupon discount warranty replacement damaged broken
        missing complaint customer service agent support billing billed charged charge fee fees purchase
        bought store website app update reset address newsletter booking reservation ticket tickets hello
        please resolve issue problem contact bestellung rückerstattung paket lieferung rechnung konto
        passwort kündigen abo commande remboursement colis livraison facture compte abonnement pedido
        reembolso paquete envío factura cuenta contraseña suscripción ordine rimborso pacco fattura заказ
        доставка посылка пароль возврат""",
    "banking": """
        card cards bank transfer transfers payment payments pin atm cash withdrawal withdraw deposit
        deposits balance statement top topup overdraft iban debit credit exchange currency pending declined
        contactless account identity verify activate beneficiary cheque direct standing loan mortgage freeze
        block stolen lost wallet karte überweisung carte virement tarjeta transferencia карта перевод""",
    "commands": """
        alarm timer remind reminder play pause skip volume lights lamp heating thermostat call text weather
        calendar appointment meeting shopping list song radio turn set open close lock tomorrow tonight
        navigate nearby book taxi""",
    "talk": """
        hi hello hey thanks thank bye goodbye morning evening night ok okay yes no cool great lol sorry
        please welcome hallo danke tschüss bonjour merci salut hola gracias ciao grazie привет спасибо olá
        obrigado""",
    "small edits": """
        grammar spelling typo typos correct fix punctuation capitalize uppercase lowercase shorten keyword
        keywords title headline subject tldr synonym synonyms rhyme alphabetical reverse fill blank tense
        plural""",
    "translation": """
        translate translation english french german spanish italian portuguese russian chinese japanese
        korean dutch polish swedish turkish arabic übersetze traduis traduire traduce traducir traduci
        traduza переведи dịch englisch anglais inglés inglese inglês английский""",
    "data formats": """
        json yaml xml csv tsv toml html markdown jsonl schema table tables column columns row rows key keys
        value values field fields array object format formatted delimiter separated comma header tabelle
        spalten tableau colonnes tabla columnas tabella таблица таблицы формат""",
    "form": """
        bullet bullets point points numbered list lists section sections paragraph paragraphs sentence
        sentences word words letter letters line lines title heading headings bracket brackets parentheses
        quotes quotation marks comma commas uppercase lowercase capital caps emoji emojis italics italic
        bold asterisk asterisks indent indented indentation placeholder placeholders postscript template
        separator separated wrapped nested hyphen hyphens underscore semicolon semicolons option options
        exact keyword keywords stichpunkte absätze paragraphes párrafos puntos предложений пунктов""",
    "obligation": """
        must exactly only least most should contain contains include includes end ends begin begins start
        starts entire whole response answer reply output use using avoid without never no every each
        following format ensure make muss genau nur doit exactement debe exactamente solo""",
    "extraction": """
        extract extracts parse entities entity fields name names date dates amount amounts fill form convert
        transform normalize normalise pull identify list return extrahiere extrais extrae estrai extraia
        wypisz""",
    "tables": """
        table tables column columns row rows select from where join create insert int varchar text number
        primary key foreign schema query sql database records""",
    "tools": """
        function functions tool tools call calls api parameters arguments description type properties
        required object string integer boolean array dict""",
}
"""Lower-cased words. A word may stand for several kinds."""

_SCRIPTS: Final = {
    "programming": """
        代码 编程 函数 编写 程序 组件 线程 算法 报错 コード 関数 プログラム 実装
        エラー 코드 함수 프로그램 구현 오류 알고리즘""",
    "mathematics": """
        证明 求 计算 方程 数列 概率 函数的 三角形 积分 求めよ 証明 確率 計算 구하시오
        증명 경우의 확률 방정식 数组""",
    "creative": """
        故事 写一首 诗 小说 剧本 角色 童话 散文 物語 詩 小説 セリフ キャラ 이야기
        소설 시를 대본""",
    "writing": """
        写一篇 写一封 文章 邮件 演讲 作文 文案 メール 手紙 文章を 써 작성해 편지""",
    "explaining": """
        解释 为什么 介绍 区别 如何 说明 なぜ 説明 違い 教えて 설명 차이 왜 알려""",
    "labels": """
        正面 负面 分类 情感 垃圾 判断 肯定的 否定的 分類 긍정 부정 분류""",
    "support": """
        订单 快递 退款 密码 客服 取消 注文 返金 パスワード 配送 キャンセル 주문 환불
        비밀번호 배송""",
    "translation": """
        翻译 译成 英文 翻訳 英語 번역 영어로""",
    "data formats": """
        表格 格式 字段 JSON 表形式 形式で 형식 표로""",
    "look-up": """
        首都 哪里 是谁 多少 哪一年 どこ 誰 いつ 수도 누구 언제""",
}
"""Written without blanks between the words: looked for as they are."""

_OF_WORD: Final[dict[str, tuple[str, ...]]] = {}
for _kind, _words in _KINDS.items():
    for _word in _words.split():
        _OF_WORD[_word] = (*_OF_WORD.get(_word, ()), _kind)
_OF_SCRIPT: Final = tuple((part, kind) for kind, parts in _SCRIPTS.items() for part in parts.split())
_LEVELS, _DENSE = (1, 2, 4, 8, 16), (0.05, 0.1, 0.2, 0.4)
_START, _END = 12, 15
"""Words at the ends that are looked at once more: there the request stands, whatever is between."""


def kinds(lowered: str, words: Sequence[str]) -> list[str]:
    """The kinds of task that the words speak for, as names: how many words there are of each, how dense they are,
    which stand at the ends, and which kinds come first."""
    whole = _counted(words)
    if not lowered.isascii():
        for part, kind in _OF_SCRIPT:
            if part in lowered:
                whole[kind] += 2
    many = max(4, len(words))
    names = [f"starts {kind}" for kind in _counted(words[:_START])]
    names += [f"ends {kind}" for kind in _counted(words[-_END:])]
    for kind, count in whole.items():
        names += _names(kind, count, count / many)
    first = sorted(whole, key=lambda kind: (-whole[kind], kind))[:3]
    names += [f"first {kind}" for kind in first[:1]] + [f"among the first {kind}" for kind in first]
    return names or ["no kind"]


def _names(kind: str, count: int, share: float) -> Iterator[str]:
    for level in _LEVELS:
        if count < level:
            break
        yield f"{kind} {level}+"
    for level in _DENSE:
        if share < level:
            break
        yield f"{kind} dense {level}"


def _counted(words: Sequence[str]) -> Counter[str]:
    return Counter(chain.from_iterable(map(_OF_WORD.__getitem__, filter(_OF_WORD.__contains__, words))))
