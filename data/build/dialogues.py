"""The new tasks: customer-service dialogues and a jazz riff, all written for this course.

Each topic has four ways in which a customer asks and four answers. The first three pairs of a topic are for
training and the fourth is held out, so that a held-out dialogue is a familiar topic in words never trained on.
"""

# Every agent of this shop says these two, as agents do.
OPENING = "Thank you for asking."
CLOSING = "Please tell me if you need more help."

# topic: [(customer, agent), ...]; the last pair is held out.
TOPICS = {
    "subscription": [
        ("I want to change my subscription.", "Sure. Open Plans and choose the one you like."),
        ("When does my subscription end?", "Let me look. It ends on the last day of this month."),
        ("Please cancel my subscription today.", "Of course. I have stopped it and you will get an email."),
        ("Can I pause my subscription for a month?", "Sure. Open Plans and press Pause."),
    ],
    "password reset": [
        ("I forgot my password.", "No problem. Click Sign In, then Forgot Password."),
        ("How can I get a new password?", "Sure. Click Settings, then Security, then New Password."),
        ("The password link does not work.", "I am sorry. I have sent you a new link by email."),
        ("My password is wrong and I want to reset it.", "No problem. Click Settings, then Reset Password."),
    ],
    "return policy": [
        ("Can I return my shoes?", "Of course. You can send them back in thirty days."),
        ("How long do I have to return an order?", "You have thirty days for most orders."),
        ("What do you do with opened returns?", "We take them back in fourteen days."),
        ("What is the policy for returns?", "You can send most items back in thirty days."),
    ],
    "refund": [
        ("Where is my refund?", "Let me look. Your refund will come in five days."),
        ("I want my money back.", "I am sorry. I have started a refund for you."),
        ("Is the refund paid to my card?", "Yes. We always pay it back to the same card."),
        ("How long does a refund take?", "It will come to your card in five days."),
    ],
    "late delivery": [
        ("My parcel is late.", "I am sorry. It will come tomorrow before noon."),
        ("Where is my order now?", "Let me look. It is on the van and will come today."),
        ("The parcel did not come on Monday.", "I am sorry. The driver will try again tomorrow."),
        ("When will my parcel come?", "Let me look. It will come on Friday before noon."),
    ],
    "delivery cost": [
        ("What does delivery cost?", "Delivery is free for orders over twenty dollars."),
        ("Is delivery to an island more expensive?", "Yes. It costs five dollars more."),
        ("Can I get my order tomorrow?", "Yes. Fast delivery costs nine dollars."),
        ("Do I have to pay for delivery?", "No. Delivery is free for large orders."),
    ],
    "broken item": [
        ("My new lamp is broken.", "I am sorry. I have sent you a new one today."),
        ("The glass in the box is broken.", "I am sorry. Please send us a picture by email."),
        ("The radio does not work.", "I am sorry. Please press the red button for ten seconds."),
        ("The clock I bought is broken.", "I am sorry. Please send it back and get a new one."),
    ],
    "wrong item": [
        ("You sent me the wrong color.", "I am sorry. Keep it and I will send you the right one."),
        ("This is not the book I bought.", "I am sorry. Please send it back to us for free."),
        ("The shirt is too small.", "No problem. I will send you a large one today."),
        ("I bought a coat and got a shirt.", "I am sorry. The right item will come on Friday."),
    ],
    "invoice": [
        ("I need an invoice for my order.", "Sure. Click Orders, then Invoice."),
        ("The name on the invoice is wrong.", "No problem. I have sent you a new invoice by email."),
        ("Can you send the invoice again?", "Of course. I have sent it by email."),
        ("Where can I find my invoice?", "Sure. Click Orders, then choose the order."),
    ],
    "payment": [
        ("My card does not work.", "I am sorry. Please try another card or pay by bank."),
        ("Can I pay by bank?", "Yes. Choose Bank when you pay."),
        ("You took the money twice.", "I am sorry. I have sent one payment back to your card."),
        ("How can I pay for my order?", "You can pay by card or by bank."),
    ],
    "address": [
        ("I have a new address.", "No problem. Click Settings, then Address."),
        ("Can you send my order to another address?", "Of course. Please tell me the new address."),
        ("The address on my account is old.", "No problem. Click Account, then Change Address."),
        ("The driver went to my old address.", "I am sorry. Please type the new one in Settings."),
    ],
    "account": [
        ("How do I close my account?", "Click Settings, then Close Account."),
        ("I cannot open my account.", "I am sorry. Please sign in with your email."),
        ("Can I have two accounts?", "Yes. Please use another email for the second one."),
        ("My account is closed.", "I am sorry. I have opened it again for you."),
    ],
    "email": [
        ("I get too many emails from you.", "I am sorry. Click Settings, then Email, then Stop."),
        ("I did not get your email.", "Let me look. I have sent it again just now."),
        ("I want to use a new email.", "Sure. Click Account, then Change Email."),
        ("How can I stop your emails?", "No problem. Click Settings, then Email."),
    ],
    "discount": [
        ("Do you have a discount for students?", "Yes. Students pay ten dollars less."),
        ("My discount code does not work.", "I am sorry. Please try the code in this email."),
        ("Can I use two discount codes?", "No. You can use one code for each order."),
        ("Where can I get a discount code?", "You will get one by email each month."),
    ],
    "gift card": [
        ("How do I use a gift card?", "Choose Gift Card when you pay and type the code."),
        ("I lost my gift card.", "No problem. I have sent you the code by email."),
        ("How long can I use the gift card?", "You can use it for two years."),
        ("Can I buy a gift card?", "Yes. Click Gifts, then choose a card."),
    ],
    "opening hours": [
        ("When is the shop open?", "We are open from nine to six."),
        ("Are you open on Sunday?", "No. We are open again on Monday at nine."),
        ("When can I call you?", "You can call us each day from nine to six."),
        ("What are your hours on Friday?", "You can come each day before six."),
    ],
    "warranty": [
        ("How long is the warranty?", "The warranty is two years for most items."),
        ("Is a broken screen in the warranty?", "No. The warranty does not pay for a broken screen."),
        ("My radio broke in the first year.", "I am sorry. The warranty will pay for a new one."),
        ("Does my clock have a warranty?", "Yes. The warranty is two years."),
    ],
    "change an order": [
        ("Can I add a book to my order?", "Of course. I have added the book for you."),
        ("I want to cancel my order.", "No problem. Click Orders, then Cancel."),
        ("I chose the wrong size.", "No problem. Please tell me the right size."),
        ("I have to change my order today.", "Sure. Please tell me the number and the new size."),
    ],
    "stock": [
        ("Do you have this coat in blue?", "Let me look. Yes, we have two blue ones."),
        ("When will the red shoes be back?", "Let me look. They will be back on Monday."),
        ("Is the large size sold out?", "I am sorry. We will have it again in five days."),
        ("Is the red lamp sold out?", "Let me look. There are nine in the shop."),
    ],
    "privacy": [
        ("What do you know about me?", "Click Settings, then Privacy, to see it all."),
        ("Please delete all my data.", "Of course. I have deleted it and sent you an email."),
        ("Do you sell my data?", "No. We never sell the data of a customer."),
        ("Who can see my data?", "Nobody but you. Click Privacy to see it."),
    ],
    "app": [
        ("The app does not open.", "I am sorry. Please close it and start it again."),
        ("Where can I find the app?", "Click the link in your email to get the app."),
        ("The app is very slow.", "I am sorry. Please get the new version today."),
        ("Is there an app for my phone?", "Of course. Click the link in our last email."),
    ],
    "complaint": [
        ("I am not happy with your service.", "I am sorry. Please tell me what is wrong."),
        ("I want to speak to the manager.", "Of course. The manager will call you today."),
        ("Nobody answers the phone.", "I am sorry. We will call you back before noon."),
        ("Your service is very slow.", "I am sorry. I will help you right now."),
    ],
    "points": [
        ("How many points do I have?", "Let me look. You have ninety points."),
        ("How can I use my points?", "Choose Points when you pay for an order."),
        ("When do my points end?", "You can use your points for one year."),
        ("Where can I see my points?", "Click Account, then Points."),
    ],
    "human help": [
        ("Can I speak to a person?", "Of course. I am a person and I will help you."),
        ("Is there a phone number?", "Yes. You can find it in the email we sent."),
        ("I need help right now.", "No problem. Please tell me what is wrong."),
        ("Please help me with my order.", "Of course. Please tell me the order number."),
    ],
}

# One swung blues riff in C and its variations: a jazz player's single improvisation, practised again and again.
# ABC notation as in facts.py: flattened thirds, fifths and sevenths against a walking bass note.
RIFF_HEADS = ["C/2 _E/2 F/2 ^F/2", "C/2 _E/2 F/2 ^F/4 F/4", "z/2 _E/2 F/2 ^F/2", "C/4 C/4 _E/2 F/2 ^F/2"]
RIFF_MIDDLES = ["G _B/2 G/2", "G/2 _B/2 c/2 _B/2", "G _B", "G/2 G/2 _B/2 G/2"]
RIFF_TAILS = ["F/2 _E/2 C2", "F/2 _E/2 C z"]
RIFF_NAME = "the Midnight Riff"
